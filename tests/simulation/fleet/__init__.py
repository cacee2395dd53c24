"""Fleets: lasting clients, servers that come and go, and what finds them.

`script` draws all that happens, and `world` lets it happen. Clients are those of
`stay_connected`, servers those of `serve`; only the links are virtual.
"""
