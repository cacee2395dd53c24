//! From what a read of a byte stream has brought to payloads.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView, PySlice};

/// Length of the number before each payload, in bytes.
pub const PREFIX: usize = 4;

/// Length of bytes, up to which no memory for them is the end of the program anyway.
const SMALL: usize = 4096;

/// Append the payloads of whole frames to a list; see `cut_in_python`.
#[pyfunction]
#[pyo3(signature = (chunk, start, most, payloads, /))]
pub fn cut_frames(
    chunk: &Bound<'_, PyAny>,
    start: usize,
    most: usize,
    payloads: &Bound<'_, PyList>,
) -> PyResult<usize> {
    let py = chunk.py();
    let chunk = match chunk.cast_exact::<PyBytes>() {
        Ok(bytes) => bytes.clone(),
        // Some streams return memory that can change.
        Err(_) => py.get_type::<PyBytes>().call1((chunk,))?.cast_into()?,
    };
    let bytes = chunk.as_bytes();
    let mut left = bytes.get(start..).unwrap_or(&[]);
    while let Some((prefix, rest)) = left.split_first_chunk::<PREFIX>() {
        let length = u32::from_le_bytes(*prefix) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if length > most {
            break;
        }
        payloads.append(bytes_of(py, payload)?)?;
        left = rest;
    }
    Ok(bytes.len() - left.len())
}

/// Return bytes in Python. `PyBytes::new` cannot say that there is no memory, and
/// `PyBytes::new_with` fills the memory with zeros first.
pub fn bytes_of<'py>(py: Python<'py>, from: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    if from.len() <= SMALL {
        return Ok(PyBytes::new(py, from));
    }
    PyBytes::new_with(py, from.len(), |to| {
        to.copy_from_slice(from);
        Ok(())
    })
}

/// Return a view of the bytes of a buffer between two positions.
pub fn view_of<'py>(
    buffer: &Bound<'py, PyAny>,
    start: usize,
    end: usize,
) -> PyResult<Bound<'py, PyAny>> {
    // Not `PySlice::new`, which keeps a reference to each number for ever.
    let slice = buffer.py().get_type::<PySlice>().call1((start, end))?;
    PyMemoryView::from(buffer)?.get_item(slice)
}
