"""Several processes that serve the same URLs: ``roam-trio serve --workers``.

`table` decides, without I/O: which workers there are, when one is started, drained or
replaced, and which gets the next connection. `parent` does it. `doors` accept the
connections, `lines` makes one log of those of the workers, and `worker` is the program
of each worker.
"""
