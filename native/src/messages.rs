//! The frequent messages of the protocol: calls, responses, items and credit.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyList, PyMemoryView, PySlice, PyTuple};

use crate::fail::{guarded, require, Done, Fail};
use crate::plan::{address, address_of_class};
use crate::varint::{read, write};

const REQUEST: u8 = 7;
const CHANNEL: u8 = 8;

/// Encodes and decodes messages; those that are rare are left to Python.
#[pyclass(frozen, module = "roam_trio._native")]
pub struct Messages {
    call: Py<PyAny>,
    response: Py<PyAny>,
    item: Py<PyAny>,
    credit: Py<PyAny>,
    no_metadata: Py<PyAny>,
    no_channels: Py<PyTuple>,
    /// Size of a payload from which its value is a view.
    borrow_from: usize,
    python_encode: Py<PyAny>,
    python_decode: Py<PyAny>,
}

#[pymethods]
impl Messages {
    /// Args: the classes of a call, a response, an item and credit; the metadata of those
    /// that have none; and what encodes and decodes all others.
    #[new]
    fn new(
        py: Python<'_>,
        classes: (Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>),
        no_metadata: Py<PyAny>,
        borrow_from: usize,
        python_encode: Py<PyAny>,
        python_decode: Py<PyAny>,
    ) -> Self {
        let (call, response, item, credit) = classes;
        Self {
            call,
            response,
            item,
            credit,
            no_metadata,
            no_channels: PyTuple::empty(py).unbind(),
            borrow_from,
            python_encode,
            python_decode,
        }
    }

    /// Return the bytes of a message in pieces, without copying its encoded value.
    #[pyo3(signature = (message, /))]
    fn encode<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        match guarded(|| self.encoded(message)) {
            Ok(pieces) => Ok(pieces.into_any()),
            Err(fail) => fail.or_call(py, &self.python_encode, (message,)),
        }
    }

    /// Return the message that a payload encodes.
    #[pyo3(signature = (payload, /))]
    fn decode<'py>(&self, payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = payload.py();
        match guarded(|| self.decoded(payload)) {
            Ok(message) => Ok(message),
            Err(fail) => fail.or_call(py, &self.python_decode, (payload,)),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for each in [&self.call, &self.response, &self.item, &self.credit] {
            visit.call(each)?;
        }
        visit.call(&self.no_metadata)?;
        visit.call(&self.python_encode)?;
        visit.call(&self.python_decode)
    }
}

impl Messages {
    fn encoded<'py>(&self, message: &Bound<'py, PyAny>) -> Done<Bound<'py, PyList>> {
        let py = message.py();
        let class = address_of_class(message);
        let is = |cls: &Py<PyAny>| class == address(cls.bind(py));
        let number = |name: &Bound<'py, _>| -> Done<u64> { Ok(message.getattr(name)?.extract()?) };
        let mut head = Vec::with_capacity(32);
        write(&mut head, number(intern!(py, "connection_id"))?);
        let value = if is(&self.item) {
            head.push(CHANNEL);
            write(&mut head, number(intern!(py, "channel_id"))?);
            head.push(0);
            message.getattr(intern!(py, "item"))?
        } else if is(&self.credit) {
            head.push(CHANNEL);
            write(&mut head, number(intern!(py, "channel_id"))?);
            head.push(3);
            let additional = number(intern!(py, "additional"))?;
            require(additional <= u64::from(u32::MAX))?;
            write(&mut head, additional);
            return Ok(PyList::new(py, [PyBytes::new(py, &head)])?);
        } else {
            let is_call = is(&self.call);
            require(is_call || is(&self.response))?;
            require(!message.getattr(intern!(py, "channels"))?.is_truthy()?)?;
            require(!message.getattr(intern!(py, "metadata"))?.is_truthy()?)?;
            head.push(REQUEST);
            write(&mut head, number(intern!(py, "request_id"))?);
            if is_call {
                head.push(0);
                write(&mut head, number(intern!(py, "method_id"))?);
                head.extend([0, 0]);
                message.getattr(intern!(py, "args"))?
            } else {
                head.extend([1, 0, 0]);
                message.getattr(intern!(py, "ret"))?
            }
        };
        let pieces = PyList::new(py, [PyBytes::new(py, &head)])?;
        match value.cast_exact::<PyList>() {
            Ok(more) => more.iter().try_for_each(|piece| pieces.append(piece))?,
            Err(_) => pieces.append(value)?,
        }
        Ok(pieces)
    }

    fn decoded<'py>(&self, payload: &Bound<'py, PyAny>) -> Done<Bound<'py, PyAny>> {
        let py = payload.py();
        let bytes = payload
            .cast_exact::<PyBytes>()
            .map_err(|_| Fail::Refused)?
            .as_bytes();
        let (connection, left) = number(bytes)?;
        let (&kind, left) = left.split_first().ok_or(Fail::Refused)?;
        require(kind == REQUEST || kind == CHANNEL)?;
        let (id, left) = number(left)?;
        let (&tag, left) = left.split_first().ok_or(Fail::Refused)?;
        if kind == CHANNEL {
            return Ok(match tag {
                0 => {
                    let value = self.value(payload, bytes, left)?;
                    self.item.bind(py).call1((connection, id, value))?
                }
                3 => {
                    let (additional, left) = read(left, 32).ok_or(Fail::Refused)?;
                    require(left.is_empty())?;
                    self.credit.bind(py).call1((connection, id, additional))?
                }
                _ => return Err(Fail::Refused),
            });
        }
        require(tag < 2)?;
        let (method, left) = if tag == 0 { number(left)? } else { (0, left) };
        let left = left.strip_prefix(&[0, 0]).ok_or(Fail::Refused)?;
        let value = self.value(payload, bytes, left)?;
        let (channels, metadata) = (&self.no_channels, &self.no_metadata);
        Ok(if tag == 0 {
            let given = (connection, id, method, channels, metadata, value);
            self.call.bind(py).call1(given)?
        } else {
            let given = (connection, id, channels, metadata, value);
            self.response.bind(py).call1(given)?
        })
    }

    /// Return the encoded value at the end of a payload.
    fn value<'py>(
        &self,
        payload: &Bound<'py, PyAny>,
        bytes: &[u8],
        left: &[u8],
    ) -> Done<Bound<'py, PyAny>> {
        let py = payload.py();
        if bytes.len() < self.borrow_from {
            return Ok(PyBytes::new(py, left).into_any());
        }
        let start = bytes.len() - left.len();
        let slice = py.get_type::<PySlice>().call1((start, py.None()))?;
        Ok(PyMemoryView::from(payload)?.get_item(slice)?)
    }
}

fn number(bytes: &[u8]) -> Done<(u64, &[u8])> {
    read(bytes, 64).ok_or(Fail::Refused)
}
