//! The frequent messages of the protocol: calls, responses, items and credit.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::encode::REFERENCED;
use crate::fail::{guarded, require, Done, Fail};
use crate::frames::{bytes_of, view_of, PREFIX};
use crate::metadata::{number, Entries};
use crate::plan::{address, address_of_class};
use crate::varint::{read, write};

const REQUEST: u8 = 7;
const CHANNEL: u8 = 8;

/// Number of bytes that most messages do not exceed.
const ROOM: usize = 64;

/// The start of the payload of an item.
struct Head<'a> {
    connection: u64,
    channel: u64,
    bytes: &'a [u8],
}

/// Encodes and decodes messages; those that are rare are left to Python.
#[pyclass(frozen, module = "roam_trio._native")]
pub struct Messages {
    call: Py<PyAny>,
    response: Py<PyAny>,
    item: Py<PyAny>,
    credit: Py<PyAny>,
    entries: Entries,
    no_channels: Py<PyTuple>,
    run: Py<PyAny>,
    /// Size of a payload from which its value is a view.
    borrow_from: usize,
    most_in_run: usize,
    python_encode: Py<PyAny>,
    python_encode_frame: Py<PyAny>,
    python_decode: Py<PyAny>,
}

#[pymethods]
impl Messages {
    /// Args: the classes of a call, a response, an item, credit and a run of items; what
    /// metadata is made of; two bounds, see `wire/runs.py`; and what encodes, frames and
    /// decodes all others.
    #[new]
    fn new(
        py: Python<'_>,
        classes: [Py<PyAny>; 5],
        entries: Entries,
        bounds: (usize, usize),
        python: (Py<PyAny>, Py<PyAny>, Py<PyAny>),
    ) -> Self {
        let [call, response, item, credit, run] = classes;
        let (borrow_from, most_in_run) = bounds;
        let (python_encode, python_encode_frame, python_decode) = python;
        Self {
            call,
            response,
            item,
            credit,
            run,
            entries,
            no_channels: PyTuple::empty(py).unbind(),
            borrow_from,
            most_in_run,
            python_encode,
            python_encode_frame,
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

    /// Return the frame of a message: its bytes after their length. A long message, and
    /// one that has views, is returned in pieces.
    #[pyo3(signature = (message, /))]
    fn encode_frame<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        match guarded(|| self.framed(message)) {
            Ok(frame) => Ok(frame),
            Err(fail) => fail.or_call(py, &self.python_encode_frame, (message,)),
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

    /// Replace payloads that are items of one channel and follow each other by runs; see
    /// `gather_in_python`.
    #[pyo3(signature = (payloads, /))]
    fn gather<'py>(&self, payloads: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match payloads.cast_exact::<PyList>() {
            Ok(list) => self.gathered(list),
            Err(_) => Ok(payloads.clone()),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for each in [
            &self.call,
            &self.response,
            &self.item,
            &self.credit,
            &self.run,
        ] {
            visit.call(each)?;
        }
        self.entries.traverse(&visit)?;
        visit.call(&self.python_encode)?;
        visit.call(&self.python_encode_frame)?;
        visit.call(&self.python_decode)
    }
}

impl Messages {
    fn encoded<'py>(&self, message: &Bound<'py, PyAny>) -> Done<Bound<'py, PyList>> {
        let py = message.py();
        let mut head = Vec::with_capacity(ROOM);
        let value = self.write_head(message, &mut head)?;
        let pieces = PyList::new(py, [PyBytes::new(py, &head)])?;
        match value {
            None => {}
            Some(value) => match value.cast_exact::<PyList>() {
                Ok(more) => more.iter().try_for_each(|piece| pieces.append(piece))?,
                Err(_) => pieces.append(value)?,
            },
        }
        Ok(pieces)
    }

    fn framed<'py>(&self, message: &Bound<'py, PyAny>) -> Done<Bound<'py, PyAny>> {
        let py = message.py();
        let mut frame = Vec::with_capacity(ROOM);
        frame.extend([0; PREFIX]);
        if let Some(value) = self.write_head(message, &mut frame)? {
            match value.cast_exact::<PyList>() {
                Ok(pieces) => pieces
                    .iter()
                    .try_for_each(|piece| copy(&piece, &mut frame))?,
                Err(_) => copy(&value, &mut frame)?,
            }
        }
        require(frame.len() - PREFIX < REFERENCED)?;
        let length = u32::try_from(frame.len() - PREFIX).map_err(|_| Fail::Refused)?;
        let prefix = frame.first_chunk_mut::<PREFIX>().ok_or(Fail::Refused)?;
        *prefix = length.to_le_bytes();
        Ok(bytes_of(py, &frame)?.into_any())
    }

    /// Write what comes before the encoded value of a message, and return that; None if
    /// there is none.
    fn write_head<'py>(
        &self,
        message: &Bound<'py, PyAny>,
        head: &mut Vec<u8>,
    ) -> Done<Option<Bound<'py, PyAny>>> {
        let py = message.py();
        let class = address_of_class(message);
        let is = |cls: &Py<PyAny>| class == address(cls.bind(py));
        let number = |name: &Bound<'py, _>| -> Done<u64> { Ok(message.getattr(name)?.extract()?) };
        write(head, number(intern!(py, "connection_id"))?);
        let name = if is(&self.item) {
            head.push(CHANNEL);
            write(head, number(intern!(py, "channel_id"))?);
            head.push(0);
            intern!(py, "item")
        } else if is(&self.credit) {
            head.push(CHANNEL);
            write(head, number(intern!(py, "channel_id"))?);
            head.push(3);
            let additional = number(intern!(py, "additional"))?;
            require(additional <= u64::from(u32::MAX))?;
            write(head, additional);
            return Ok(None);
        } else {
            let is_call = is(&self.call);
            require(is_call || is(&self.response))?;
            let channels = message.getattr(intern!(py, "channels"))?;
            require(channels.is(&self.no_channels) || !channels.is_truthy()?)?;
            head.push(REQUEST);
            write(head, number(intern!(py, "request_id"))?);
            let (tag, value) = if is_call {
                (0, intern!(py, "args"))
            } else {
                (1, intern!(py, "ret"))
            };
            head.push(tag);
            if is_call {
                write(head, number(intern!(py, "method_id"))?);
            }
            head.push(0);
            let metadata = message.getattr(intern!(py, "metadata"))?;
            self.entries.write(&metadata, head)?;
            value
        };
        Ok(Some(message.getattr(name)?))
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
        let left = left.strip_prefix(&[0]).ok_or(Fail::Refused)?;
        let (metadata, left) = self.entries.read(py, left)?;
        let value = self.value(payload, bytes, left)?;
        let channels = &self.no_channels;
        Ok(if tag == 0 {
            let given = (connection, id, method, channels, metadata, value);
            self.call.bind(py).call1(given)?
        } else {
            let given = (connection, id, channels, metadata, value);
            self.response.bind(py).call1(given)?
        })
    }

    fn gathered<'py>(&self, payloads: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
        let py = payloads.py();
        let mut all = Vec::with_capacity(payloads.len());
        for payload in payloads.iter() {
            match payload.cast_into_exact::<PyBytes>() {
                Ok(payload) => all.push(payload),
                Err(_) => return Ok(payloads.clone().into_any()),
            }
        }
        if !self.has_run_in_the_middle(&all) {
            return Ok(payloads.clone().into_any());
        }
        let gathered = PyList::empty(py);
        let mut left = all.as_slice();
        while let Some((first, rest)) = left.split_first() {
            let head = self.head_of_item(first.as_bytes());
            let head = head.map(|head| (self.count_items(left, head.bytes), head));
            let Some((count, head)) = head.filter(|(count, _)| *count > 1) else {
                gathered.append(first)?;
                left = rest;
                continue;
            };
            let values = PyList::empty(py);
            for item in left.iter().take(count) {
                let value = item.as_bytes().get(head.bytes.len()..);
                values.append(bytes_of(py, value.unwrap_or(&[]))?)?;
            }
            let run = (head.connection, head.channel, values);
            gathered.append(self.run.bind(py).call1(run)?)?;
            left = left.get(count..).unwrap_or(&[]);
        }
        Ok(gathered.into_any())
    }

    /// A search that finds no runs would cost more than it saves.
    fn has_run_in_the_middle(&self, payloads: &[Bound<'_, PyBytes>]) -> bool {
        let middle = payloads.len() / 2;
        let at = |place: usize| payloads.get(place).map(|payload| payload.as_bytes());
        let (Some(second), Some(first)) = (at(middle), at(middle.wrapping_sub(1))) else {
            return false;
        };
        let head = self.head_of_item(second);
        head.is_some_and(|head| first.starts_with(head.bytes))
    }

    /// Return how many of the first payloads are items that begin with `head`.
    fn count_items(&self, payloads: &[Bound<'_, PyBytes>], head: &[u8]) -> usize {
        let is_item = |payload: &&Bound<'_, PyBytes>| {
            let bytes = payload.as_bytes();
            bytes.len() < self.borrow_from && bytes.starts_with(head)
        };
        let first = payloads.iter().take(self.most_in_run);
        first.take_while(is_item).count()
    }

    /// Return the start of the payload of an item; None for any other payload.
    fn head_of_item<'a>(&self, payload: &'a [u8]) -> Option<Head<'a>> {
        if payload.len() >= self.borrow_from {
            return None;
        }
        let (connection, left) = read(payload, 64)?;
        let (channel, left) = read(left.strip_prefix(&[CHANNEL])?, 64)?;
        let left = left.strip_prefix(&[0])?;
        let bytes = payload.get(..payload.len() - left.len())?;
        Some(Head {
            connection,
            channel,
            bytes,
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
        Ok(view_of(payload, bytes.len() - left.len(), bytes.len())?)
    }
}

/// Append a piece to a frame, unless it is a view, or so long that it is not copied.
fn copy(piece: &Bound<'_, PyAny>, frame: &mut Vec<u8>) -> Done<()> {
    let piece = piece.cast_exact::<PyBytes>().map_err(|_| Fail::Refused)?;
    let bytes = piece.as_bytes();
    require(frame.len() - PREFIX + bytes.len() < REFERENCED)?;
    frame.extend_from_slice(bytes);
    Ok(())
}
