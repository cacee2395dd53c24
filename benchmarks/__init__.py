"""How fast roam_trio is, beside other ways to do the same work.

    python -m benchmarks.floor            roam_trio beside a hand-written trio program
    python -m benchmarks.floor --quick    the same in less than half a minute

`works` says what is done, `adapters` hold one implementation each, `worker` runs one
of them in a process of its own, `rounds` interleaves them, `results` does the
arithmetic and `report` prints.
"""
