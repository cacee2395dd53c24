//! Why a codec stops.

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

pub type Done<T> = Result<T, Fail>;

/// Reserve memory; an allocation that fails is not to end the process.
pub fn reserve<T>(to: &mut Vec<T>, more: usize) -> Done<()> {
    to.try_reserve(more)
        .map_err(|_| PyMemoryError::new_err(()).into())
}
