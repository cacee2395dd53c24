"""Whole worlds under one seed each: servers, clients and proxies on virtual links.

`script` draws all that happens, as data; `world` lets it happen, and checks what has to
hold; `running` runs a script, and shrinks one that fails. `determinism` makes runs of
trio repeat, and `network` has the links.
"""
