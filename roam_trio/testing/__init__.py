"""Tools for testing what is built with roam_trio, or for it.

`connected_pair` joins a service and a client of it in memory; `fixtures` has it as a
fixture for pytest-trio. `link_conformance` holds the checks that every link must pass;
run them on a link of your own. Its names are public: `LinkUnderTest`, `CHECKS`, `Check`
and `carry`. `FaultyStream` and `FaultyLink` go wrong, as `Faults` say. But for
`fixtures`, nothing here needs a particular test runner.
"""

from .faults import Faults
from .faulty_link import FaultyLink
from .faulty_stream import FaultyStream, faulty_stream_pair
from .pair import ConnectedPair, connected_pair

__all__ = [
    "ConnectedPair",
    "Faults",
    "FaultyLink",
    "FaultyStream",
    "connected_pair",
    "faulty_stream_pair",
]
