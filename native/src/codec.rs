//! The codec of one shape, as Python sees it.

use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyMemoryView, PyTuple};

use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::fail::{Done, Fail};
use crate::plan::{At, Helpers, Part};

/// Encodes and decodes the values of one shape.
#[pyclass(frozen, module = "roam_trio._native")]
pub struct Codec {
    parts: Vec<Part>,
    root: At,
    helpers: Helpers,
    /// The codec in Python: has `encode` and `decode`.
    python: Py<PyAny>,
}

#[pymethods]
impl Codec {
    #[new]
    fn new(
        parts: Vec<Bound<'_, PyTuple>>,
        root: At,
        helpers: Helpers,
        python: Py<PyAny>,
    ) -> PyResult<Self> {
        let parts = parts.iter().map(Part::of).collect::<PyResult<Vec<_>>>()?;
        let count = parts.len();
        let mut all = parts.iter().flat_map(Part::parts).chain([root]);
        if all.any(|at| at >= count) {
            return Err(PyValueError::new_err("a part that is not there"));
        }
        Ok(Self {
            parts,
            root,
            helpers,
            python,
        })
    }

    /// Encode a value, and call `append` with each piece of the encoding.
    #[pyo3(signature = (value, append, /))]
    fn encode<'py>(&self, value: &Bound<'py, PyAny>, append: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = value.py();
        let encoder = Encoder::new(py, &self.parts, &self.helpers);
        match guarded(|| encoder.run(self.root, value)) {
            Ok(pieces) => pieces
                .into_iter()
                .try_for_each(|piece| append.call1((piece,)).map(drop)),
            Err(fail) => {
                self.python_unless_fatal(fail, py)?
                    .call_method1(intern!(py, "encode"), (value, append))?;
                Ok(())
            }
        }
    }

    /// Decode a value at a position; return it, and the position after it.
    #[pyo3(signature = (buffer, start, size, /))]
    fn decode<'py>(
        &self,
        buffer: &Bound<'py, PyAny>,
        start: usize,
        size: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = buffer.py();
        match guarded(|| self.decoded(buffer, start, size)) {
            Ok(found) => found.into_pyobject(py).map(Bound::into_any),
            Err(fail) => self
                .python_unless_fatal(fail, py)?
                .call_method1(intern!(py, "decode"), (buffer, start, size)),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.python)?;
        self.parts.iter().try_for_each(|part| part.traverse(&visit))
    }
}

impl Codec {
    fn decoded<'py>(
        &self,
        buffer: &Bound<'py, PyAny>,
        start: usize,
        size: usize,
    ) -> Done<(Bound<'py, PyAny>, usize)> {
        let (bytes, from) = whole(buffer)?;
        let bytes = bytes.as_bytes();
        let end = from.checked_add(size).ok_or(Fail::Refused)?;
        let first = from.checked_add(start).ok_or(Fail::Refused)?;
        let given = bytes.get(first..end).ok_or(Fail::Refused)?;
        Decoder::new(&self.parts, &self.helpers, given, buffer, size).run(self.root)
    }

    fn python_unless_fatal<'a, 'py>(
        &'a self,
        fail: Fail,
        py: Python<'py>,
    ) -> PyResult<&'a Bound<'py, PyAny>> {
        match fail.fatal(py) {
            Some(error) => Err(error),
            None => Ok(self.python.bind(py)),
        }
    }
}

/// Return the bytes that have the memory of a buffer, and the position in them at which
/// it starts.
fn whole<'py>(buffer: &Bound<'py, PyAny>) -> Done<(Bound<'py, PyBytes>, usize)> {
    if let Ok(bytes) = buffer.cast_exact::<PyBytes>() {
        return Ok((bytes.clone(), 0));
    }
    let view = buffer
        .cast_exact::<PyMemoryView>()
        .map_err(|_| Fail::Refused)?;
    let memory = PyUntypedBuffer::get(view)?;
    let is_flat = memory.item_size() == 1
        && memory.dimensions() == 1
        && memory.is_c_contiguous()
        && memory.format() == c"B";
    if !is_flat {
        return Err(Fail::Refused);
    }
    let owner = view.getattr(intern!(view.py(), "obj"))?;
    if let Ok(bytes) = owner.cast_into_exact::<PyBytes>() {
        // Bytes never change, so those behind the view are read in place.
        let (start, from) = (bytes.as_bytes().as_ptr(), memory.buf_ptr());
        let at = (from as usize).checked_sub(start as usize);
        return Ok((bytes, at.ok_or(Fail::Refused)?));
    }
    // Calls into Python could change any other memory.
    let copy = view.call_method0(intern!(view.py(), "tobytes"))?;
    let copy = copy.cast_into_exact::<PyBytes>();
    Ok((copy.map_err(|_| Fail::Refused)?, 0))
}

/// Run a codec. A panic would be a fault of this crate; it is no reason to refuse what is
/// right, or to end the program, so that Python decides.
fn guarded<T>(run: impl FnOnce() -> Done<T>) -> Done<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Fail::Refused))
}
