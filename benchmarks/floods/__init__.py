"""What a peer can do at worst to a default server, beside an honest client.

    python -m benchmarks.floods [--quick] [--only NAME]

`run` starts three processes for each flood: `server`, a server with default settings;
`honest`, a client that calls 100 times a second; and `flooder`, which does one of the
floods in `kinds` as fast as it can, and comes back whenever its session has ended.
`outcome` says what that has cost, and `command` prints it.
"""
