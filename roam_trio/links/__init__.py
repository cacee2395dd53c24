"""Links, which move payloads between two peers.

`base` defines the interface, and `memory`, `stream` and `websocket` implement it.
`tcp`, `local` and `tls` make stream links on sockets, `stdio` on the standard input and
output of this process, and `child` on those of a program that it starts.
`roam_trio.testing.link_conformance` has the tests that every link must pass.
"""
