"""Conversion of services between Python and Rust.

    @service classes --from_python--> Interface --write_rust--> Rust source
    Rust source --read--> Interface --to_python--> Python source

This room has only synchronous functions of text and plain data. Neither direction runs
its input. Only `roam_trio.codegen.rust.read` needs the extra ``rust``, for the grammar.
"""

from .from_python import interface_of
from .problems import Problem, RustError
from .to_python import write_python
from .write import write_rust

__all__ = ["Problem", "RustError", "interface_of", "write_python", "write_rust"]
