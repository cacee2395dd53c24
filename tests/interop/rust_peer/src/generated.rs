//! Replaced where the peer is built: `tests/interop/signatures.py` writes it.

use roam::ServiceDescriptor;

use crate::vectors::Rows;

pub fn descriptors() -> Vec<&'static ServiceDescriptor> {
    vec![]
}

pub fn values(_rows: &mut Rows) {}
