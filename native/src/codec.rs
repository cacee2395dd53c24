//! The codec of one shape, as Python sees it.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyList, PyMemoryView, PyTuple};

use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::fail::{guarded, Done, Fail};
use crate::plan::{At, Helpers, Part};
use crate::run::Run;

/// Encodes and decodes the values of one shape.
#[pyclass(frozen, module = "roam_trio._native")]
pub struct Codec {
    parts: Vec<Part>,
    root: At,
    helpers: Helpers,
    /// The codec in Python, with the same methods.
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

    /// Encode a value; return the pieces of the encoding.
    #[pyo3(signature = (value, /))]
    fn encode<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        match guarded(|| self.encoded(value, None)) {
            Ok(pieces) => Ok(pieces.into_any()),
            Err(fail) => self
                .python_unless_fatal(fail, py)?
                .call_method1(intern!(py, "encode"), (value,)),
        }
    }

    /// Encode a value, and append the pieces of the encoding to a list.
    #[pyo3(signature = (value, pieces, /))]
    fn encode_into<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        pieces: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        let py = value.py();
        match guarded(|| self.encoded(value, Some(pieces))) {
            Ok(_) => Ok(()),
            Err(fail) => self
                .python_unless_fatal(fail, py)?
                .call_method1(intern!(py, "encode_into"), (value, pieces))
                .map(drop),
        }
    }

    /// Encode values into payloads that begin with `head`, up to a size in bytes.
    ///
    /// Return them, whether the size was reached, and the exception of a value or of the
    /// iterator after them.
    #[pyo3(signature = (values, head, most_bytes, /))]
    fn encode_run<'py>(
        &self,
        values: &Bound<'py, PyAny>,
        head: &[u8],
        most_bytes: usize,
    ) -> PyResult<(Bound<'py, PyAny>, bool, Option<PyErr>)> {
        let py = values.py();
        let mut run = Run::new(py, &self.parts, &self.helpers, self.root, head);
        let (mut is_cut, mut failure) = (false, None);
        for value in values.try_iter()? {
            let added = value.and_then(|value| run.add(&value, || self.encode(&value)));
            match added {
                Ok(()) if run.size < most_bytes => {}
                Ok(()) => {
                    is_cut = true;
                    break;
                }
                Err(error) if error.is_instance_of::<PyException>(py) => {
                    failure = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((run.finish(self.helpers.framed.bind(py))?, is_cut, failure))
    }

    /// Decode a value that extends from a position to the end of a buffer.
    #[pyo3(signature = (buffer, start=0, /))]
    fn decode<'py>(&self, buffer: &Bound<'py, PyAny>, start: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = buffer.py();
        guarded(|| self.decoded(buffer, start)).or_else(|fail| {
            self.python_unless_fatal(fail, py)?
                .call_method1(intern!(py, "decode"), (buffer, start))
        })
    }

    /// Decode values, and append them to a list.
    #[pyo3(signature = (buffers, values, /))]
    fn decode_each<'py>(
        &self,
        buffers: &Bound<'py, PyAny>,
        values: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        for buffer in buffers.try_iter()? {
            values.append(self.decode(&buffer?, 0)?)?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.python)?;
        self.parts.iter().try_for_each(|part| part.traverse(&visit))
    }
}

impl Codec {
    fn encoded<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        into: Option<&Bound<'py, PyList>>,
    ) -> Done<Bound<'py, PyList>> {
        Encoder::new(value.py(), &self.parts, &self.helpers).run(self.root, value, into)
    }

    fn decoded<'py>(&self, buffer: &Bound<'py, PyAny>, start: usize) -> Done<Bound<'py, PyAny>> {
        if let Ok(bytes) = buffer.cast_exact::<PyBytes>() {
            return self.decoded_from(bytes.as_bytes(), buffer, start);
        }
        let (bytes, from, size) = memory_of(buffer)?;
        let end = from.checked_add(size).ok_or(Fail::Refused)?;
        let given = bytes.as_bytes().get(from..end).ok_or(Fail::Refused)?;
        self.decoded_from(given, buffer, start)
    }

    fn decoded_from<'py>(
        &self,
        bytes: &[u8],
        buffer: &Bound<'py, PyAny>,
        start: usize,
    ) -> Done<Bound<'py, PyAny>> {
        let given = bytes.get(start..).ok_or(Fail::Refused)?;
        Decoder::new(&self.parts, &self.helpers, given, buffer, bytes.len()).run(self.root)
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

/// Return the bytes that have the memory of a view, the position in them at which it
/// starts, and its size.
fn memory_of<'py>(buffer: &Bound<'py, PyAny>) -> Done<(Bound<'py, PyBytes>, usize, usize)> {
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
    let size = memory.len_bytes();
    let owner = view.getattr(intern!(view.py(), "obj"))?;
    if let Ok(bytes) = owner.cast_into_exact::<PyBytes>() {
        // Bytes never change, so those behind the view are read in place.
        let (start, from) = (bytes.as_bytes().as_ptr(), memory.buf_ptr());
        let at = (from as usize).checked_sub(start as usize);
        return Ok((bytes, at.ok_or(Fail::Refused)?, size));
    }
    // Calls into Python could change any other memory.
    let copy = view.call_method0(intern!(view.py(), "tobytes"))?;
    let copy = copy.cast_into_exact::<PyBytes>();
    Ok((copy.map_err(|_| Fail::Refused)?, 0, size))
}
