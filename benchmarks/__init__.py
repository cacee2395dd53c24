"""How fast roam_trio is, beside other libraries and ways to do the same work.

    python -m benchmarks                  every library that is installed
    python -m benchmarks --quick          the same in less than two minutes
    python -m benchmarks.floor            roam_trio beside a hand-written trio program

`works` says what is done, `adapters` hold one implementation each, `worker` runs one
of them in a process of its own, `stopwatch` measures there, `rounds` interleaves them,
`results` and `figures` do the arithmetic, `report` prints, and `writing` writes tables
and plots. `cargo` builds what is in Rust. `growth` and `fairness` are benchmarks of
their own, and `soak` is a run of an hour that is to stay as it is.
"""
