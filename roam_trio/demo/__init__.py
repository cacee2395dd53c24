"""``python -m roam_trio demo``: the library at work between two processes.

`service` says what the two processes speak about. The one is the server (`handler`,
`server`), the other its client: `process` starts the server, `streaming` and `calls`
are what the client does and measures, `display` shows it and `report` sums it up.
`run` puts these together.
"""
