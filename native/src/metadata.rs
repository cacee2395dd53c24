//! Metadata of calls and responses: a list of entries, of which most messages have none
//! and the others one or two.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

use crate::encode::CACHED;
use crate::fail::{require, reserve, Done, Fail};
use crate::frames::bytes_of;
use crate::plan::{address, address_of_class};
use crate::varint::{read, write};

const TEXT: u8 = 0;
const OCTETS: u8 = 1;
const NUMBER: u8 = 2;

/// Number of bytes of the shortest entry: a key without bytes, a tag, a value, flags.
const SHORTEST: u64 = 4;

/// Parts of metadata; see `EntryParts` in `wire/entries.py`.
#[derive(FromPyObject)]
pub struct Entries {
    /// The metadata of messages that have none.
    none: Py<PyAny>,
    metadata: Py<PyAny>,
    entry: Py<PyAny>,
    /// The key of the time that is left for a call, the most frequent: all entries that
    /// have it share one text.
    deadline: Py<PyString>,
    most: u64,
}

impl Entries {
    /// Append metadata; only plain texts, bytes and numbers are not left to Python.
    pub fn write(&self, metadata: &Bound<'_, PyAny>, to: &mut Vec<u8>) -> Done<()> {
        let py = metadata.py();
        if metadata.is(&self.none) {
            to.push(0);
            return Ok(());
        }
        require(address_of_class(metadata) == address(self.metadata.bind(py)))?;
        let entries = metadata.cast::<PyTuple>().map_err(|_| Fail::Refused)?;
        write(to, entries.len() as u64);
        for entry in entries.iter_borrowed() {
            require(address_of_class(&entry) == address(self.entry.bind(py)))?;
            write_text(&entry.getattr(intern!(py, "key"))?, to)?;
            write_value(&entry.getattr(intern!(py, "value"))?, to)?;
            write(to, plain_number(&entry.getattr(intern!(py, "flags"))?)?);
        }
        Ok(())
    }

    /// Return metadata, and the bytes after it.
    pub fn read<'a, 'py>(
        &self,
        py: Python<'py>,
        from: &'a [u8],
    ) -> Done<(Bound<'py, PyAny>, &'a [u8])> {
        let (count, mut left) = number(from)?;
        if count == 0 {
            return Ok((self.none.bind(py).clone(), left));
        }
        require(count <= self.most && count * SHORTEST <= left.len() as u64)?;
        let mut entries = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (entry, rest) = self.entry(py, left)?;
            entries.push(entry);
            left = rest;
        }
        let entries = PyTuple::new(py, entries)?;
        Ok((self.metadata.bind(py).call1((entries,))?, left))
    }

    fn entry<'a, 'py>(
        &self,
        py: Python<'py>,
        from: &'a [u8],
    ) -> Done<(Bound<'py, PyAny>, &'a [u8])> {
        let (key, left) = counted(from)?;
        let known = self.deadline.bind(py);
        let key = if known.to_str()?.as_bytes() == key {
            known.clone()
        } else {
            PyString::from_bytes(py, key)?
        };
        let (&tag, left) = left.split_first().ok_or(Fail::Refused)?;
        let (value, left) = match tag {
            TEXT => {
                let (data, left) = counted(left)?;
                (PyString::from_bytes(py, data)?.into_any(), left)
            }
            OCTETS => {
                let (data, left) = counted(left)?;
                (bytes_of(py, data)?.into_any(), left)
            }
            NUMBER => {
                let (value, left) = number(left)?;
                (
                    value.into_pyobject(py).map_err(PyErr::from)?.into_any(),
                    left,
                )
            }
            _ => return Err(Fail::Refused),
        };
        let (flags, left) = number(left)?;
        Ok((self.entry.bind(py).call1((key, value, flags))?, left))
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.none)?;
        visit.call(&self.metadata)?;
        visit.call(&self.entry)
    }
}

fn write_value(value: &Bound<'_, PyAny>, to: &mut Vec<u8>) -> Done<()> {
    if value.is_exact_instance_of::<PyString>() {
        to.push(TEXT);
        write_text(value, to)
    } else if let Ok(data) = value.cast_exact::<PyBytes>() {
        to.push(OCTETS);
        write_counted(data.as_bytes(), to)
    } else {
        to.push(NUMBER);
        write(to, plain_number(value)?);
        Ok(())
    }
}

fn write_text(text: &Bound<'_, PyAny>, to: &mut Vec<u8>) -> Done<()> {
    let text = text.cast_exact::<PyString>().map_err(|_| Fail::Refused)?;
    if text.len()? > CACHED {
        return write_counted(text.encode_utf8()?.as_bytes(), to);
    }
    write_counted(text.to_str()?.as_bytes(), to)
}

fn write_counted(data: &[u8], to: &mut Vec<u8>) -> Done<()> {
    write(to, data.len() as u64);
    reserve(to, data.len())?;
    to.extend_from_slice(data);
    Ok(())
}

fn plain_number(value: &Bound<'_, PyAny>) -> Done<u64> {
    require(value.is_exact_instance_of::<PyInt>())?;
    Ok(value.extract()?)
}

/// Return bytes that have their length before them, and those after.
fn counted(from: &[u8]) -> Done<(&[u8], &[u8])> {
    let (length, left) = number(from)?;
    let length = usize::try_from(length).map_err(|_| Fail::Refused)?;
    left.split_at_checked(length).ok_or(Fail::Refused)
}

pub fn number(from: &[u8]) -> Done<(u64, &[u8])> {
    read(from, 64).ok_or(Fail::Refused)
}
