"""Tools for testing what is built with roam_trio, or for it.

`connected_pair` joins a service and a client of it in memory; `fixtures` has it as a
fixture for pytest-trio. `link_conformance` holds the checks that every link must pass;
run them on a link of your own. Its names are public: `LinkUnderTest`, `CHECKS`, `Check`
and `carry`. But for `fixtures`, nothing here needs a particular test runner.
"""

from .pair import ConnectedPair, connected_pair

__all__ = ["ConnectedPair", "connected_pair"]
