"""Inputs that a peer could send, by the million: for every decoder and live sessions.

`decoders` and `sessions` have the targets. An engine makes inputs for one and keeps
those that reach new code: `guided` with atheris, where it is installed, or `tracing`
without it. `corpus` keeps the best ones in the repository, and a quick test replays
them.

This module imports nothing, because atheris must be there before the package is.
"""
