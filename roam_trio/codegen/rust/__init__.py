"""Services in Rust from those in Python, and the other way.

    @service classes --from_python--> Interface --write_rust--> Rust source
    Rust source --read--> Interface --to_python--> Python source

Everything here is a synchronous function of text and plain data. Neither direction runs
what it is given. `roam_trio.codegen.rust.read` alone needs the extra ``rust``, for the
grammar.
"""

from .from_python import interface_of
from .problems import Problem, RustError
from .to_python import write_python
from .write import write_rust

__all__ = ["Problem", "RustError", "interface_of", "write_python", "write_rust"]
