//! From bytes to a value.

use std::vec::Drain;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple,
};

use crate::fail::{require, reserve, Done, Fail};
use crate::frames::view_of;
use crate::plan::{At, Helpers, Part, Record, Watch};
use crate::varint::{read, read_wide, unzigzag, unzigzag_wide};
use crate::MAX_DEPTH;

/// Number of items for which memory is reserved at once. A count is checked against the
/// bytes that are left, but an item takes more memory than a byte.
const RESERVED: usize = 1024;

pub struct Decoder<'a, 'py> {
    py: Python<'py>,
    parts: &'a [Part],
    helpers: &'a Helpers,
    /// The bytes that are left.
    left: &'a [u8],
    /// What was given, of which views are taken; it ends where `left` does.
    buffer: &'a Bound<'py, PyAny>,
    size: usize,
    depth: usize,
    /// The parts of the collections, records and tuples that are being decoded.
    stack: Vec<Value<'py>>,
}

type Value<'py> = Bound<'py, PyAny>;

impl<'a, 'py> Decoder<'a, 'py> {
    /// Args: `bytes` are those of `buffer` from a position to its end, at `size`.
    pub fn new(
        parts: &'a [Part],
        helpers: &'a Helpers,
        bytes: &'a [u8],
        buffer: &'a Bound<'py, PyAny>,
        size: usize,
    ) -> Self {
        Self {
            py: buffer.py(),
            parts,
            helpers,
            left: bytes,
            buffer,
            size,
            depth: 0,
            stack: Vec::new(),
        }
    }

    /// Decode a value, which takes all bytes.
    pub fn run(mut self, root: At) -> Done<Value<'py>> {
        let value = self.decode(root)?;
        if self.left.is_empty() {
            Ok(value)
        } else {
            Err(Fail::Refused)
        }
    }

    fn decode(&mut self, at: At) -> Done<Value<'py>> {
        let parts = self.parts;
        Ok(match parts.get(at).ok_or(Fail::Refused)? {
            Part::Bool => {
                let flag = self.flag()?;
                PyBool::new(self.py, flag).to_owned().into_any()
            }
            Part::Int { bits, signed } => self.integer(*bits, *signed)?,
            Part::F32 => {
                let number = single(self.take_array()?)?;
                PyFloat::new(self.py, number).into_any()
            }
            Part::F64 => {
                let number = f64::from_le_bytes(self.take_array()?);
                PyFloat::new(self.py, number).into_any()
            }
            Part::Char => {
                let data = self.counted_bytes()?;
                let text = std::str::from_utf8(data).map_err(|_| Fail::Refused)?;
                let mut chars = text.chars();
                if chars.next().is_none() || chars.next().is_some() {
                    return Err(Fail::Refused);
                }
                PyString::from_bytes(self.py, data)?.into_any()
            }
            Part::Str => {
                let data = self.counted_bytes()?;
                PyString::from_bytes(self.py, data)?.into_any()
            }
            Part::Bytes { view } => {
                let length = self.number(64)?;
                self.octets(length, *view)?
            }
            Part::Option { inner, .. } => {
                if self.flag()? {
                    require(self.depth < MAX_DEPTH)?;
                    self.depth += 1;
                    let value = self.decode(*inner)?;
                    self.depth -= 1;
                    value
                } else {
                    self.none()
                }
            }
            part => self.within(part)?,
        })
    }

    /// Decode a value that may have parts.
    fn within(&mut self, part: &'a Part) -> Done<Value<'py>> {
        if self.depth == MAX_DEPTH {
            return Err(Fail::Refused);
        }
        self.depth += 1;
        let done = self.composite(part);
        self.depth -= 1;
        done
    }

    fn composite(&mut self, part: &'a Part) -> Done<Value<'py>> {
        Ok(match part {
            Part::Unit { skipped, .. } => {
                if let Some(skipped) = skipped {
                    self.decode(*skipped)?;
                }
                self.none()
            }
            Part::Octets { length, view, .. } => self.octets(*length as u64, *view)?,
            Part::List { item, size, tuple } => {
                let count = self.count(*size)?;
                self.sequence(*item, count, *tuple)?
            }
            Part::Array {
                item,
                size,
                length,
                tuple,
                ..
            } => {
                self.check_left(*length as u64, *size)?;
                self.sequence(*item, *length, *tuple)?
            }
            Part::Set {
                item,
                size,
                frozen,
                watch,
            } => self.set(*item, *size, *frozen, watch.as_ref())?,
            Part::Map {
                key,
                value,
                size,
                watch,
            } => self.map(*key, *value, *size, watch.as_ref())?,
            Part::Tuple(items) => {
                let first = self.stack.len();
                for item in items {
                    let value = self.decode(*item)?;
                    self.keep(value)?;
                }
                PyTuple::new(self.py, self.stack.drain(first..))?.into_any()
            }
            Part::Record(record) => self.record(record)?,
            Part::Enum { members, .. } => {
                let index = self.number(32)?;
                let member = members.get(index as usize).ok_or(Fail::Refused)?;
                member.bind(self.py).clone()
            }
            Part::Union { variants, .. } => {
                let index = self.number(32)?;
                self.record(variants.get(index as usize).ok_or(Fail::Refused)?)?
            }
            Part::Converted {
                cls,
                inner,
                structure,
                ..
            } => {
                let value = self.decode(*inner)?;
                structure.bind(self.py).call1((value, cls))?
            }
            Part::Channel { handle } => handle
                .bind(self.py)
                .call_method0(intern!(self.py, "__roam_unbound__"))?,
            _ => return Err(Fail::Refused),
        })
    }

    // ---------------------------------------------------------------- bytes

    fn none(&self) -> Value<'py> {
        self.py.None().into_bound(self.py)
    }

    fn take(&mut self, count: u64) -> Done<&'a [u8]> {
        let count = usize::try_from(count).map_err(|_| Fail::Refused)?;
        let (taken, rest) = self.left.split_at_checked(count).ok_or(Fail::Refused)?;
        self.left = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Done<[u8; N]> {
        let (taken, rest) = self.left.split_first_chunk::<N>().ok_or(Fail::Refused)?;
        self.left = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Done<u8> {
        let [byte] = self.take_array()?;
        Ok(byte)
    }

    fn flag(&mut self) -> Done<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fail::Refused),
        }
    }

    fn number(&mut self, bits: u32) -> Done<u64> {
        let (number, rest) = read(self.left, bits).ok_or(Fail::Refused)?;
        self.left = rest;
        Ok(number)
    }

    fn integer(&mut self, bits: u32, signed: bool) -> Done<Value<'py>> {
        let number = match (bits, signed) {
            (128, _) => return self.wide(signed),
            (8, true) => PyInt::new(self.py, self.byte()? as i8),
            (8, false) => PyInt::new(self.py, self.byte()?),
            (_, true) => PyInt::new(self.py, unzigzag(self.number(bits)?)),
            (_, false) => PyInt::new(self.py, self.number(bits)?),
        };
        Ok(number.into_any())
    }

    fn wide(&mut self, signed: bool) -> Done<Value<'py>> {
        let (number, rest) = read_wide(self.left, 128).ok_or(Fail::Refused)?;
        self.left = rest;
        let number = if signed {
            PyInt::new(self.py, unzigzag_wide(number))
        } else {
            PyInt::new(self.py, number)
        };
        Ok(number.into_any())
    }

    fn counted_bytes(&mut self) -> Done<&'a [u8]> {
        let length = self.number(64)?;
        self.take(length)
    }

    fn octets(&mut self, length: u64, view: bool) -> Done<Value<'py>> {
        let start = self.size - self.left.len();
        let data = self.take(length)?;
        if view {
            let end = self.size - self.left.len();
            return Ok(view_of(self.buffer, start, end)?);
        }
        let copy = PyBytes::new_with(self.py, data.len(), |to| {
            to.copy_from_slice(data);
            Ok(())
        })?;
        Ok(copy.into_any())
    }

    // ---------------------------------------------------------------- collections

    fn count(&mut self, size: u64) -> Done<usize> {
        let count = self.number(64)?;
        self.check_left(count, size)?;
        usize::try_from(count).map_err(|_| Fail::Refused)
    }

    fn check_left(&self, count: u64, size: u64) -> Done<()> {
        let is_right = if size == 0 {
            count <= self.helpers.max_zero_sized
        } else {
            let needed = count.checked_mul(size);
            needed.is_some_and(|needed| needed <= self.left.len() as u64)
        };
        is_right.then_some(()).ok_or(Fail::Refused)
    }

    fn sequence(&mut self, item: At, count: usize, tuple: bool) -> Done<Value<'py>> {
        let py = self.py;
        let items = self.items(item, count)?;
        if tuple {
            return Ok(PyTuple::new(py, items)?.into_any());
        }
        Ok(PyList::new(py, items)?.into_any())
    }

    fn items(&mut self, item: At, count: usize) -> Done<Drain<'_, Value<'py>>> {
        let first = self.stack.len();
        reserve(&mut self.stack, count.min(RESERVED))?;
        let parts = self.parts;
        let part = parts.get(item).ok_or(Fail::Refused)?;
        for _ in 0..count {
            let value = match part {
                // The most frequent ones, without looking for the part each time.
                Part::Int { bits, signed } => self.integer(*bits, *signed)?,
                _ => self.decode(item)?,
            };
            self.keep(value)?;
        }
        Ok(self.stack.drain(first..))
    }

    #[inline]
    fn keep(&mut self, value: Value<'py>) -> Done<()> {
        reserve(&mut self.stack, 1)?;
        self.stack.push(value);
        Ok(())
    }

    fn set(
        &mut self,
        item: At,
        size: u64,
        frozen: bool,
        watch: Option<&Watch>,
    ) -> Done<Value<'py>> {
        let count = self.count(size)?;
        let py = self.py;
        let watched = self.started(watch, count)?;
        let items = self.items(item, count)?;
        if let Some((fill, started)) = watched {
            let items = PyList::new(py, items)?;
            return Ok(fill.call1((items, started))?);
        }
        if frozen {
            return Ok(PyFrozenSet::new(py, items)?.into_any());
        }
        Ok(PySet::new(py, items)?.into_any())
    }

    fn map(&mut self, key: At, value: At, size: u64, watch: Option<&Watch>) -> Done<Value<'py>> {
        let count = self.count(size)?;
        let Some((fill, started)) = self.started(watch, count)? else {
            let found = PyDict::new(self.py);
            for _ in 0..count {
                let each = self.decode(key)?;
                found.set_item(each, self.decode(value)?)?;
            }
            return Ok(found.into_any());
        };
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for _ in 0..count {
            reserve(&mut keys, 1)?;
            keys.push(self.decode(key)?);
            reserve(&mut values, 1)?;
            values.push(self.decode(value)?);
        }
        let (keys, values) = (PyList::new(self.py, keys)?, PyList::new(self.py, values)?);
        Ok(fill.call1((keys, values, started))?)
    }

    /// Return the call that adds many keys, and the time; None if it is not needed.
    fn started<'w>(
        &self,
        watch: Option<&'w Watch>,
        count: usize,
    ) -> Done<Option<(&'w Bound<'py, PyAny>, Value<'py>)>> {
        match watch.filter(|watch| count > watch.few) {
            None => Ok(None),
            Some(watch) => {
                let started = self.helpers.clock.bind(self.py).call0()?;
                Ok(Some((watch.fill.bind(self.py), started)))
            }
        }
    }

    // ---------------------------------------------------------------- classes

    fn record(&mut self, record: &Record) -> Done<Value<'py>> {
        let cls = record.cls.bind(self.py);
        if record.positional {
            let first = self.stack.len();
            for field in &record.fields {
                let value = self.decode(field.at)?;
                if field.keyword.is_some() {
                    self.keep(value)?;
                }
            }
            let values = PyTuple::new(self.py, self.stack.drain(first..))?;
            return Ok(cls.call1(values)?);
        }
        let values = PyDict::new(self.py);
        for field in &record.fields {
            let value = self.decode(field.at)?;
            if let Some(keyword) = &field.keyword {
                values.set_item(keyword, value)?;
            }
        }
        Ok(cls.call((), Some(&values))?)
    }
}

/// Return a float of 32 bits. How a signalling NaN is read depends on the interpreter.
fn single(bytes: [u8; 4]) -> Done<f64> {
    let number = f32::from_le_bytes(bytes);
    if number.is_nan() && number.to_bits() & 0x0040_0000 == 0 {
        return Err(Fail::Refused);
    }
    Ok(f64::from(number))
}
