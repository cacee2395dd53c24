//! Frames of sessions that outlive their links, with their numbers.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::encode::REFERENCED;
use crate::frames::{bytes_of, view_of, PREFIX};
use crate::sequence::{write_header, Numbers, LONGEST_HEADER};

/// Size of a message from which it is a view of its frame; `wire/runs.py` has the same.
const BORROW_FROM: usize = 2048;

/// Append the messages of frames to a list; see `take_in_python`. Stops as well before
/// what is left to Python: a goodbye, and what is not bytes.
#[pyfunction]
#[pyo3(signature = (payloads, messages, expected, first, handed, start, /))]
pub fn take_lasting(
    payloads: &Bound<'_, PyAny>,
    messages: &Bound<'_, PyList>,
    expected: u32,
    first: u64,
    handed: u64,
    start: u64,
) -> PyResult<(usize, usize, usize, u32, u64)> {
    let py = payloads.py();
    let mut numbers = Numbers {
        expected,
        first,
        handed,
        start,
    };
    let (mut left, mut count, mut size) = (payloads.len()?, 0, 0usize);
    for payload in payloads.try_iter()? {
        let payload = payload?;
        let Ok(bytes) = payload.cast_exact::<PyBytes>() else {
            break;
        };
        let bytes = bytes.as_bytes();
        let Some(accepted) = numbers.accept(bytes) else {
            break;
        };
        left = left.saturating_sub(1);
        let Some(message) = accepted else {
            continue;
        };
        count += 1;
        size = size.saturating_add(message.len());
        if message.len() < BORROW_FROM {
            messages.append(PyBytes::new(py, message))?;
        } else {
            let at = bytes.len() - message.len();
            messages.append(view_of(&payload, at, bytes.len())?)?;
        }
    }
    Ok((left, count, size, numbers.expected, numbers.first))
}

/// Return the frame of a message, after its length; see `frame_in_python`.
#[pyfunction]
#[pyo3(signature = (seq, ack, body, /))]
pub fn frame_lasting<'py>(
    seq: u32,
    ack: Option<u32>,
    body: &Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = body.py();
    let mut frame = Vec::new();
    add(&mut frame, seq, ack, body.as_bytes())?;
    bytes_of(py, &frame)
}

/// Return the frames of several messages, and the lengths of the longest payload and of
/// the last one; see `frames_in_python`. None if a message is not to be copied.
#[pyfunction]
#[pyo3(signature = (seq, ack, bodies, /))]
pub fn frames_lasting<'py>(
    seq: u32,
    ack: Option<u32>,
    bodies: &Bound<'py, PyList>,
) -> PyResult<Option<(Bound<'py, PyBytes>, usize, usize)>> {
    let py = bodies.py();
    let mut frames = Vec::new();
    let (mut seq, mut longest, mut last) = (seq, 0, 0);
    for body in bodies.iter() {
        let Ok(body) = body.cast_exact::<PyBytes>() else {
            return Ok(None);
        };
        let body = body.as_bytes();
        if body.len() >= REFERENCED {
            return Ok(None);
        }
        last = add(&mut frames, seq, ack, body)?;
        longest = last.max(longest);
        seq = seq.wrapping_add(1);
    }
    Ok(Some((bytes_of(py, &frames)?, longest, last)))
}

/// Append a frame after its length, and return that.
fn add(frames: &mut Vec<u8>, seq: u32, ack: Option<u32>, body: &[u8]) -> PyResult<usize> {
    frames
        .try_reserve(PREFIX + LONGEST_HEADER + body.len())
        .map_err(|_| PyMemoryError::new_err(()))?;
    let start = frames.len();
    frames.extend([0; PREFIX]);
    write_header(frames, seq, ack);
    frames.extend_from_slice(body);
    let length = frames.len() - start - PREFIX;
    let prefix = u32::try_from(length)?.to_le_bytes();
    if let Some(place) = frames.get_mut(start..start + PREFIX) {
        place.copy_from_slice(&prefix);
    }
    Ok(length)
}
