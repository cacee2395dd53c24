//! Why a codec stops.

use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;

/// A codec does not describe what is wrong: the codec in Python runs on the same input,
/// and either knows better or raises the error.
pub enum Fail {
    /// The value or the bytes are wrong, or of a kind that is left to Python.
    Refused,
    /// A call into Python raised.
    Raised(Box<PyErr>),
}

impl From<PyErr> for Fail {
    fn from(error: PyErr) -> Self {
        Self::Raised(Box::new(error))
    }
}

impl Fail {
    /// Return the exception that ends everything; None for what Python is to look at.
    pub fn fatal(self, py: Python<'_>) -> Option<PyErr> {
        match self {
            Self::Refused => None,
            Self::Raised(error) => {
                let is_refusal = error.is_instance_of::<PyException>(py)
                    && !error.is_instance_of::<PyMemoryError>(py);
                (!is_refusal).then_some(*error)
            }
        }
    }
}

impl Fail {
    /// Let Python do it, unless the exception ends everything.
    pub fn or_call<'py>(
        self,
        py: Python<'py>,
        python: &Py<PyAny>,
        args: impl PyCallArgs<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.fatal(py) {
            Some(error) => Err(error),
            None => python.bind(py).call1(args),
        }
    }
}

pub type Done<T> = Result<T, Fail>;

/// Reserve memory; an allocation that fails is not to end the process.
#[inline(always)]
pub fn reserve<T>(to: &mut Vec<T>, more: usize) -> Done<()> {
    if to.capacity() - to.len() >= more {
        return Ok(());
    }
    grow(to, more)
}

#[cold]
fn grow<T>(to: &mut Vec<T>, more: usize) -> Done<()> {
    to.try_reserve(more)
        .map_err(|_| PyMemoryError::new_err(()).into())
}

pub fn require(is_right: bool) -> Done<()> {
    is_right.then_some(()).ok_or(Fail::Refused)
}

/// Run a codec. A panic would be a fault of this crate; it is no reason to refuse what is
/// right, or to end the program, so that Python decides.
pub fn guarded<T>(run: impl FnOnce() -> Done<T>) -> Done<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Fail::Refused))
}
