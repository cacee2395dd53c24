"""Whether a server and a client stay as they are while everything happens to them.

    python -m benchmarks.soak --minutes 60

`command` reads the command line and prints, `run` runs three processes: `server`,
`client`, which checks every answer, and `flooder`, which harms the server as far as it
can. The links of the client pass through a `forwarder`, which stalls and cuts them.
Everybody rests for a moment before each look, so `gauges` counts what was left behind,
and not what is under way. `trend` decides whether a gauge goes on growing, and
`verdict` what is wrong with a run.
"""
