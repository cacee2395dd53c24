"""Conduits: messages on links.

`base` defines the interface. The conduit in `bare` adds nothing to a message. The one
in `stable` survives the loss of a link.
"""
