"""Conduits: messages on links.

`base` says what a conduit is; `bare` is the one that adds nothing, and `stable` the one
that goes on when a link is lost.
"""
