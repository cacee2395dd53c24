//! The postcard codec of roam_trio, for the plans of `roam_trio.codec`, and the frequent
//! messages, for `roam_trio.wire`.
//!
//! It does what the code in Python does, with the same bytes. Whatever it refuses, or
//! does not know, it leaves to that one, which runs on the same input: it raises the
//! error, or finds the value after all.

#![forbid(unsafe_code)]

#[cfg(feature = "python")]
mod codec;
#[cfg(feature = "python")]
mod decode;
#[cfg(feature = "python")]
mod encode;
#[cfg(feature = "python")]
mod fail;
#[cfg(feature = "python")]
mod frames;
#[cfg(feature = "python")]
mod lasting;
#[cfg(feature = "python")]
mod messages;
#[cfg(feature = "python")]
mod metadata;
#[cfg(feature = "python")]
mod plan;
#[cfg(feature = "python")]
mod run;
pub mod sequence;
pub mod varint;

#[cfg(feature = "python")]
use pyo3::prelude::*;

/// What the package and the extension agree on; `native.py` has the same number.
#[cfg(feature = "python")]
const INTERFACE: u32 = 8;

/// Parts within parts up to which values are encoded and decoded here. The codec in
/// Python goes as far as the recursion limit of the interpreter.
#[cfg(feature = "python")]
const MAX_DEPTH: usize = 200;

/// Codecs of roam_trio in Rust; `roam_trio.codec` and `roam_trio.wire` use them.
#[cfg(feature = "python")]
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("INTERFACE", INTERFACE)?;
    module.add_class::<codec::Codec>()?;
    module.add_class::<messages::Messages>()?;
    module.add_function(wrap_pyfunction!(frames::cut_frames, module)?)?;
    module.add_function(wrap_pyfunction!(lasting::take_lasting, module)?)?;
    module.add_function(wrap_pyfunction!(lasting::frame_lasting, module)?)?;
    module.add_function(wrap_pyfunction!(lasting::frames_lasting, module)?)
}
