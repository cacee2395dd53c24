//! From a value to pieces of bytes.

use std::cell::Cell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple,
};

use crate::fail::{require, reserve, Done, Fail};
use crate::frames::bytes_of;
use crate::plan::{address, address_of_class, At, Field, Helpers, Part, Record};
use crate::varint::{write, write_wide, zigzag, zigzag_wide};
use crate::MAX_DEPTH;

/// Length from which a byte string becomes a piece of its own, without a copy.
const LARGE: usize = 128;

/// Length from which a link sends a byte string without a copy.
pub const REFERENCED: usize = 32 * 1024;

/// Number of bytes of memory that are kept for the next encoding.
const KEPT: usize = 4096;

/// Number of records from which their fields are read in one step for each: to begin
/// takes as long as to read the attributes of several.
const MANY: usize = 16;

/// Length up to which the encoding of a text is cached in the text.
pub const CACHED: usize = 4096;

thread_local! {
    /// The memory of the last encoding, if it was small, which the next one can use. One
    /// within another finds none.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

pub struct Encoder<'a, 'py> {
    py: Python<'py>,
    parts: &'a [Part],
    helpers: &'a Helpers,
    bytes: Vec<u8>,
    /// The pieces before these bytes; None if there are none.
    pieces: Option<Bound<'py, PyList>>,
    /// Whether all is to become one piece, without byte strings that are passed on.
    is_flat: bool,
    depth: usize,
}

impl<'a, 'py> Encoder<'a, 'py> {
    pub fn new(py: Python<'py>, parts: &'a [Part], helpers: &'a Helpers) -> Self {
        Self {
            py,
            parts,
            helpers,
            bytes: SCRATCH.take(),
            pieces: None,
            is_flat: false,
            depth: 0,
        }
    }

    /// An encoder of several values, which copies all of their bytes into one piece, and
    /// refuses values with byte strings that are too long for that.
    pub fn of_frames(py: Python<'py>, parts: &'a [Part], helpers: &'a Helpers) -> Self {
        let mut encoder = Self::new(py, parts, helpers);
        encoder.is_flat = true;
        encoder
    }

    /// Encode a value, and append the pieces to a list, or return a new one.
    pub fn run(
        mut self,
        root: At,
        value: &Bound<'py, PyAny>,
        into: Option<&Bound<'py, PyList>>,
    ) -> Done<Bound<'py, PyList>> {
        self.encode(root, value)?;
        let last = self.last_piece()?;
        let into = into.cloned();
        let pieces = match (self.pieces.take(), into) {
            (None, None) => PyList::new(self.py, last)?,
            (Some(pieces), None) => {
                last.map_or(Ok(()), |last| pieces.append(last))?;
                pieces
            }
            (before, Some(pieces)) => {
                for piece in before.iter().flatten() {
                    pieces.append(piece)?;
                }
                last.map_or(Ok(()), |last| pieces.append(last))?;
                pieces
            }
        };
        self.keep_memory();
        Ok(pieces)
    }

    fn keep_memory(mut self) {
        self.bytes.clear();
        if self.bytes.capacity() <= KEPT {
            SCRATCH.set(self.bytes);
        }
    }

    // ---------------------------------------------------------------- several values

    /// Add the encoding of a value to the bytes so far.
    pub fn add(&mut self, root: At, value: &Bound<'py, PyAny>) -> Done<()> {
        self.encode(root, value)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Drop all from a position on.
    pub fn cut_to(&mut self, end: usize) {
        self.bytes.truncate(end);
        self.depth = 0;
    }

    pub fn overwrite(&mut self, start: usize, data: &[u8]) -> Done<()> {
        let end = start.checked_add(data.len()).ok_or(Fail::Refused)?;
        let place = self.bytes.get_mut(start..end).ok_or(Fail::Refused)?;
        place.copy_from_slice(data);
        Ok(())
    }

    /// Return all bytes.
    pub fn into_piece(self) -> PyResult<Bound<'py, PyBytes>> {
        let piece = bytes_of(self.py, &self.bytes)?;
        self.keep_memory();
        Ok(piece)
    }

    // ---------------------------------------------------------------- pieces

    fn last_piece(&mut self) -> Done<Option<Bound<'py, PyBytes>>> {
        match self.bytes.is_empty() {
            true => Ok(None),
            false => Ok(Some(self.piece()?)),
        }
    }

    /// Make a piece of the bytes so far.
    fn piece(&mut self) -> Done<Bound<'py, PyBytes>> {
        let piece = bytes_of(self.py, &self.bytes)?;
        self.bytes.clear();
        Ok(piece)
    }

    /// Add a piece of its own, after the bytes so far.
    fn add_piece(&mut self, data: Bound<'py, PyAny>) -> Done<()> {
        let before = self.last_piece()?;
        let pieces = self.pieces.get_or_insert_with(|| PyList::empty(self.py));
        if let Some(before) = before {
            pieces.append(before)?;
        }
        Ok(pieces.append(data)?)
    }

    pub fn push(&mut self, data: &[u8]) -> Done<()> {
        reserve(&mut self.bytes, data.len())?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Write a number. Encodings grow by small steps, and the growth of a vector doubles,
    /// so that the length is checked here.
    #[inline]
    fn number(&mut self, number: u64) -> Done<()> {
        reserve(&mut self.bytes, 10)?;
        write(&mut self.bytes, number);
        Ok(())
    }

    fn encode(&mut self, at: At, value: &Bound<'py, PyAny>) -> Done<()> {
        let parts = self.parts;
        match parts.get(at).ok_or(Fail::Refused)? {
            Part::Bool => self.boolean(value),
            Part::Int { bits, signed } => self.integer(*bits, *signed, value),
            Part::F32 => self.single(value),
            Part::F64 => self.push(&float(value)?.to_le_bytes()),
            Part::Char => self.character(value),
            Part::Str => self.text(value),
            Part::Option { inner, present } => {
                let is_present = *present || !value.is_none();
                self.push(&[u8::from(is_present)])?;
                if is_present {
                    require(self.depth < MAX_DEPTH)?;
                    self.depth += 1;
                    self.encode(*inner, value)?;
                    self.depth -= 1;
                }
                Ok(())
            }
            Part::Bytes { .. } => {
                let data = self.data(value)?;
                self.number(data.len()? as u64)?;
                self.octets(data)
            }
            part => self.within(part, value),
        }
    }

    /// Encode a value that may have parts.
    fn within(&mut self, part: &'a Part, value: &Bound<'py, PyAny>) -> Done<()> {
        if self.depth == MAX_DEPTH {
            return Err(Fail::Refused);
        }
        self.depth += 1;
        let done = self.composite(part, value);
        self.depth -= 1;
        done
    }

    fn composite(&mut self, part: &'a Part, value: &Bound<'py, PyAny>) -> Done<()> {
        match part {
            Part::Unit { written, .. } => {
                require(value.is_none())?;
                self.push(written)
            }
            Part::Octets {
                length, counted, ..
            } => {
                let data = self.data(value)?;
                require(data.len()? == *length)?;
                self.length_of_array(*length, *counted)?;
                self.octets(data)
            }
            Part::List { item, size, .. } => {
                let values = Sequence::of(value, self)?;
                self.count(values.len(), *size)?;
                self.items(*item, &values)
            }
            Part::Array {
                item,
                length,
                counted,
                ..
            } => {
                let values = Sequence::of(value, self)?;
                require(values.len() == *length)?;
                self.length_of_array(*length, *counted)?;
                self.items(*item, &values)
            }
            Part::Set { item, size, .. } => self.set(*item, *size, value),
            Part::Map {
                key,
                value: item,
                size,
                ..
            } => self.map(*key, *item, *size, value),
            Part::Tuple(items) => self.tuple(items, value),
            Part::Record(record) => {
                self.check_record(record, value)?;
                self.fields(&record.fields, value)
            }
            Part::Enum { indices, .. } => {
                let index = indices.get(&address(value)).ok_or(Fail::Refused)?;
                self.number(u64::from(*index))
            }
            Part::Union {
                variants,
                indices,
                table,
            } => {
                let index = match indices.get(&address_of_class(value)) {
                    Some(index) => *index,
                    None => {
                        let find = self.helpers.index_by_class.bind(self.py);
                        find.call1((value, table))?.extract()?
                    }
                };
                let record = variants.get(index).ok_or(Fail::Refused)?;
                self.number(index as u64)?;
                self.fields(&record.fields, value)
            }
            Part::Converted {
                cls,
                inner,
                unstructure,
                ..
            } => {
                self.check_class(cls, value)?;
                let wire = unstructure.bind(self.py).call1((value,))?;
                self.encode(*inner, &wire)
            }
            Part::Channel { handle } => self.check_class(handle, value),
            _ => Err(Fail::Refused),
        }
    }

    // ---------------------------------------------------------------- without parts

    fn boolean(&mut self, value: &Bound<'py, PyAny>) -> Done<()> {
        let value = value.cast_exact::<PyBool>().map_err(|_| Fail::Refused)?;
        self.push(&[u8::from(value.is_true())])
    }

    fn single(&mut self, value: &Bound<'py, PyAny>) -> Done<()> {
        let number = float(value)?;
        let short = number as f32;
        // How a signalling NaN is shortened depends on the interpreter.
        require(!number.is_nan() && (short.is_finite() || number.is_infinite()))?;
        self.push(&short.to_le_bytes())
    }

    fn character(&mut self, value: &Bound<'py, PyAny>) -> Done<()> {
        let text = value.cast::<PyString>().map_err(|_| Fail::Refused)?;
        let text = text.to_str()?;
        require(text.chars().count() == 1)?;
        self.number(text.len() as u64)?;
        self.push(text.as_bytes())
    }

    fn integer(&mut self, bits: u32, signed: bool, value: &Bound<'py, PyAny>) -> Done<()> {
        if bits == 128 {
            return self.wide(signed, value);
        }
        if signed {
            let number: i64 = value.extract()?;
            let beyond = number >> (bits - 1);
            require(beyond == 0 || beyond == -1)?;
            match bits {
                8 => self.push(&[number as u8]),
                _ => self.number(zigzag(number)),
            }
        } else {
            let number = match bits {
                64 => value.extract()?,
                // The extraction of signed numbers is the faster one.
                _ => value.extract::<i64>()? as u64,
            };
            require(bits == 64 || number >> bits == 0)?;
            match bits {
                8 => self.push(&[number as u8]),
                _ => self.number(number),
            }
        }
    }

    fn wide(&mut self, signed: bool, value: &Bound<'py, PyAny>) -> Done<()> {
        require(value.is_exact_instance_of::<PyInt>())?;
        let number = if signed {
            zigzag_wide(value.extract()?)
        } else {
            value.extract()?
        };
        reserve(&mut self.bytes, 19)?;
        write_wide(&mut self.bytes, number);
        Ok(())
    }

    fn text(&mut self, value: &Bound<'py, PyAny>) -> Done<()> {
        let text = value.cast_exact::<PyString>();
        let text = text.or_else(|_| value.cast()).map_err(|_| Fail::Refused)?;
        if text.len()? > CACHED {
            let encoded = text.encode_utf8()?;
            self.number(encoded.as_bytes().len() as u64)?;
            return self.octets(encoded.into_any());
        }
        let text = text.to_str()?;
        reserve(&mut self.bytes, 10 + text.len())?;
        write(&mut self.bytes, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Return bytes, or a view of bytes.
    fn data(&self, value: &Bound<'py, PyAny>) -> Done<Bound<'py, PyAny>> {
        if value.is_exact_instance_of::<PyBytes>() {
            return Ok(value.clone());
        }
        Ok(self.helpers.as_bytes.bind(self.py).call1((value,))?)
    }

    fn octets(&mut self, data: Bound<'py, PyAny>) -> Done<()> {
        let length = data.len()?;
        if length >= LARGE && !self.is_flat {
            return self.add_piece(data);
        }
        require(length < REFERENCED)?;
        self.copy(&data)
    }

    /// Add the bytes of a byte string, or of a view of one.
    pub fn copy(&mut self, data: &Bound<'py, PyAny>) -> Done<()> {
        match data.cast_exact::<PyBytes>() {
            Ok(data) => self.push(data.as_bytes()),
            Err(_) => {
                let copy = data.call_method0(intern!(self.py, "tobytes"))?;
                let copy = copy.cast_exact::<PyBytes>().map_err(|_| Fail::Refused)?;
                self.push(copy.as_bytes())
            }
        }
    }

    // ---------------------------------------------------------------- collections

    fn length_of_array(&mut self, length: usize, counted: bool) -> Done<()> {
        if counted {
            self.number(length as u64)?;
        }
        Ok(())
    }

    fn count(&mut self, count: usize, size: u64) -> Done<()> {
        require(size > 0 || count as u64 <= self.helpers.max_zero_sized)?;
        self.number(count as u64)
    }

    fn items(&mut self, item: At, values: &Sequence<'py>) -> Done<()> {
        let count = values.len();
        let parts = self.parts;
        match parts.get(item).ok_or(Fail::Refused)? {
            // The most frequent ones, without looking for the part each time.
            Part::Int { bits, signed } => {
                for index in 0..count {
                    self.integer(*bits, *signed, &values.get(index)?)?;
                }
            }
            Part::F64 => {
                reserve(&mut self.bytes, count.saturating_mul(8))?;
                for index in 0..count {
                    self.push(&float(&values.get(index)?)?.to_le_bytes())?;
                }
            }
            Part::Record(record) if record.as_tuple && count >= MANY => {
                for index in self.structs(record, values)?..count {
                    self.encode(item, &values.get(index)?)?;
                }
            }
            _ => {
                for index in 0..count {
                    self.encode(item, &values.get(index)?)?;
                }
            }
        }
        // A call into Python may have changed the list.
        require(values.len() == count)
    }

    /// Encode instances of a class of msgspec, until one is of another class. Return
    /// its index.
    fn structs(&mut self, record: &Record, values: &Sequence<'py>) -> Done<usize> {
        let cls = address(record.cls.bind(self.py));
        let as_tuples = self.helpers.as_tuples.bind(self.py);
        let mut tuples = as_tuples.call1((values.as_any(),))?.try_iter()?;
        require(self.depth < MAX_DEPTH)?;
        self.depth += 1;
        let mut index = 0;
        while index < values.len() && address_of_class(&values.get(index)?) == cls {
            let tuple = tuples.next().ok_or(Fail::Refused)??;
            let tuple = tuple.cast_exact::<PyTuple>().map_err(|_| Fail::Refused)?;
            for (field, each) in record.fields.iter().zip(tuple.iter_borrowed()) {
                self.encode(field.at, &each)?;
            }
            index += 1;
        }
        self.depth -= 1;
        Ok(index)
    }

    fn set(&mut self, item: At, size: u64, value: &Bound<'py, PyAny>) -> Done<()> {
        let is_set =
            value.is_exact_instance_of::<PySet>() || value.is_exact_instance_of::<PyFrozenSet>();
        let values = if is_set {
            value.clone()
        } else {
            self.helpers.as_items.bind(self.py).call1((value,))?
        };
        let count = values.len()?;
        self.count(count, size)?;
        let mut seen = 0;
        for each in values.try_iter()? {
            self.encode(item, &each?)?;
            seen += 1;
        }
        require(seen == count)
    }

    fn map(&mut self, key: At, item: At, size: u64, value: &Bound<'py, PyAny>) -> Done<()> {
        let given = match value.cast_exact::<PyDict>() {
            Ok(dict) => dict.clone(),
            Err(_) => {
                let dict = self.helpers.as_dict.bind(self.py).call1((value,))?;
                dict.cast_into::<PyDict>().map_err(|_| Fail::Refused)?
            }
        };
        // Lists of their own, so that no call into Python can change them.
        let (keys, values) = (given.keys(), given.values());
        require(keys.len() == values.len())?;
        self.count(keys.len(), size)?;
        for (each_key, each) in keys.iter().zip(values.iter()) {
            self.encode(key, &each_key)?;
            self.encode(item, &each)?;
        }
        Ok(())
    }

    // ---------------------------------------------------------------- composites

    fn tuple(&mut self, items: &[At], value: &Bound<'py, PyAny>) -> Done<()> {
        let values = match value.cast_exact::<PyTuple>() {
            Ok(tuple) => tuple.clone(),
            Err(_) => {
                require(value.is_instance_of::<PyTuple>())?;
                PyTuple::new(self.py, value.try_iter()?.collect::<PyResult<Vec<_>>>()?)?
            }
        };
        require(values.len() == items.len())?;
        for (item, each) in items.iter().zip(values.iter_borrowed()) {
            self.encode(*item, &each)?;
        }
        Ok(())
    }

    fn fields(&mut self, fields: &[Field], value: &Bound<'py, PyAny>) -> Done<()> {
        for field in fields {
            let each = match &field.attribute {
                Some(name) => value.getattr(name.bind(self.py))?,
                None => self.py.None().into_bound(self.py),
            };
            self.encode(field.at, &each)?;
        }
        Ok(())
    }

    fn check_record(&self, record: &Record, value: &Bound<'py, PyAny>) -> Done<()> {
        let cls = record.cls.bind(self.py);
        if address_of_class(value) != address(cls) {
            self.helpers
                .check_record
                .bind(self.py)
                .call1((value, cls))?;
        }
        Ok(())
    }

    fn check_class(&self, cls: &Py<PyAny>, value: &Bound<'py, PyAny>) -> Done<()> {
        let cls = cls.bind(self.py);
        require(address_of_class(value) == address(cls) || value.is_instance(cls)?)
    }
}

fn float(value: &Bound<'_, PyAny>) -> Done<f64> {
    match value.cast_exact::<PyFloat>() {
        Ok(number) => Ok(number.value()),
        Err(_) => Ok(value.extract()?),
    }
}

/// The items of a list or a tuple.
enum Sequence<'py> {
    List(Bound<'py, PyList>),
    Tuple(Bound<'py, PyTuple>),
}

impl<'py> Sequence<'py> {
    fn of(value: &Bound<'py, PyAny>, encoder: &Encoder<'_, 'py>) -> Done<Self> {
        if let Some(sequence) = Self::exact(value) {
            return Ok(sequence);
        }
        let convert = encoder.helpers.as_sequence.bind(encoder.py);
        Self::exact(&convert.call1((value,))?).ok_or(Fail::Refused)
    }

    fn exact(value: &Bound<'py, PyAny>) -> Option<Self> {
        if let Ok(list) = value.cast_exact::<PyList>() {
            return Some(Self::List(list.clone()));
        }
        let tuple = value.cast_exact::<PyTuple>().ok()?;
        Some(Self::Tuple(tuple.clone()))
    }

    fn as_any(&self) -> &Bound<'py, PyAny> {
        match self {
            Self::List(list) => list.as_any(),
            Self::Tuple(tuple) => tuple.as_any(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Tuple(tuple) => tuple.len(),
        }
    }

    fn get(&self, index: usize) -> Done<Bound<'py, PyAny>> {
        Ok(match self {
            Self::List(list) => list.get_item(index)?,
            Self::Tuple(tuple) => tuple.get_item(index)?,
        })
    }
}
