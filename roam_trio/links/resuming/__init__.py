"""A link over a sequence of links, with sequence numbers, acknowledgements and replay.

`hello`, `sequence`, `replay`, `exchange` and `keys` decide, without trio. `source`
(which supplies links), `handshake` and `resuming` wait.
"""
