"""A link over a sequence of links, with sequence numbers, acknowledgements and replay.

`conversation` decides, without trio, by means of `hello`, `sequence`, `replay`,
`exchange` and `keys`; for all clients of a server, `lost` does. `source` (which
supplies links), `handshake`, `resuming` and its two halves, `tx` and `rx`, wait.
"""
