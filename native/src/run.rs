//! Several values, encoded into payloads that are sent together.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::encode::{Encoder, REFERENCED};
use crate::fail::{guarded, Done, Fail};
use crate::frames::{bytes_of, PREFIX};
use crate::plan::{At, Helpers, Part};

/// The payloads so far. Each has the same head and an encoded value.
///
/// They are framed, each after its length, until a value comes that is too long to be
/// copied. From then on they are a list of the pieces of each value.
pub struct Run<'a, 'py> {
    py: Python<'py>,
    root: At,
    head: &'a [u8],
    frames: Encoder<'a, 'py>,
    list: Option<Bound<'py, PyList>>,
    count: usize,
    longest: usize,
    last: usize,
    /// Size of the encoded values in all.
    pub size: usize,
}

impl<'a, 'py> Run<'a, 'py> {
    pub fn new(
        py: Python<'py>,
        parts: &'a [Part],
        helpers: &'a Helpers,
        root: At,
        head: &'a [u8],
    ) -> Self {
        Self {
            py,
            root,
            head,
            frames: Encoder::of_frames(py, parts, helpers),
            list: None,
            count: 0,
            longest: 0,
            last: 0,
            size: 0,
        }
    }

    /// Add a value; `encode` returns the pieces of those that are not encoded here.
    pub fn add(
        &mut self,
        value: &Bound<'py, PyAny>,
        encode: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let root = self.root;
        if self.list.is_none() && self.add_frame(|frames| frames.add(root, value))? {
            return Ok(());
        }
        self.add_pieces(encode()?)
    }

    /// Add a frame, with the value that `write` adds. Return false if that refuses.
    fn add_frame(
        &mut self,
        write: impl FnOnce(&mut Encoder<'a, 'py>) -> Done<()>,
    ) -> PyResult<bool> {
        let start = self.frames.len();
        let done = guarded(|| {
            self.frames.push(&[0; PREFIX])?;
            self.frames.push(self.head)?;
            write(&mut self.frames)?;
            self.end_frame(start)
        });
        match done {
            Ok(()) => Ok(true),
            Err(fail) => {
                self.frames.cut_to(start);
                fail.fatal(self.py).map_or(Ok(false), Err)
            }
        }
    }

    fn add_pieces(&mut self, pieces: Bound<'py, PyAny>) -> PyResult<()> {
        let mut length = 0usize;
        for piece in pieces.try_iter()? {
            length = length.saturating_add(piece?.len()?);
        }
        if self.list.is_none() && length < REFERENCED {
            let all = pieces.clone();
            let copied = self.add_frame(|frames| {
                for piece in all.try_iter()? {
                    frames.copy(&piece?)?;
                }
                Ok(())
            });
            if copied? {
                return Ok(());
            }
        }
        if self.list.is_none() {
            self.list = Some(self.cut()?);
        }
        if let Some(list) = &self.list {
            list.append(pieces)?;
        }
        self.note(length);
        Ok(())
    }

    /// Write the length of the last frame, which begins at a position.
    fn end_frame(&mut self, start: usize) -> Done<()> {
        let length = self.frames.len() - start - PREFIX;
        let prefix = u32::try_from(length).map_err(|_| Fail::Refused)?;
        self.frames.overwrite(start, &prefix.to_le_bytes())?;
        self.longest = self.longest.max(length);
        self.last = length;
        self.note(length - self.head.len());
        Ok(())
    }

    fn note(&mut self, length: usize) {
        self.count += 1;
        self.size = self.size.saturating_add(length);
    }

    /// Return the values of the frames, each as a list of one piece.
    fn cut(&self) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(self.py);
        let mut left = self.frames.bytes();
        while let Some((prefix, rest)) = left.split_first_chunk::<PREFIX>() {
            let length = u32::from_le_bytes(*prefix) as usize;
            let (payload, rest) = rest.split_at(length.min(rest.len()));
            let value = bytes_of(self.py, payload.get(self.head.len()..).unwrap_or(&[]))?;
            list.append(PyList::new(self.py, [value])?)?;
            left = rest;
        }
        Ok(list)
    }

    /// Return what is to be sent: the frames, as `framed` holds them, or the list.
    pub fn finish(self, framed: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self.list {
            Some(list) => Ok(list.into_any()),
            None => {
                let (count, longest, last) = (self.count, self.longest, self.last);
                let data = self.frames.into_piece()?;
                framed.call1((data, count, longest, last, self.head.len()))
            }
        }
    }
}
