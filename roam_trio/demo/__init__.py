"""``python -m roam_trio demo``: the library at work between two processes.

`service` defines the service. One process is the server (`handler`, `server`), the
other is its client: `process` starts the server, `streaming` and `calls` are the steps
of the client, `display` shows their progress, and `report` prints the results. `run`
combines these.
"""
