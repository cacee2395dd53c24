"""Links: how payloads get from one peer to the other, and the ways to make one.

`base` says what a link is; `memory`, `stream` and `websocket` are links. `tcp`, `local`
and `tls` make stream links on sockets, `stdio` on this process's own input and output,
and `child` on those of a program it starts. `roam_trio.testing.link_conformance` holds
what every link must pass.
"""
