"""Tools for tests of services, links and conduits.

`connected_pair` joins a service and a client in memory. The plugin for pytest has it as
the fixture `connect_service`, whose type is `ConnectService`. `link_conformance` has
the checks that every link must pass; run them on your own link. Its names are public:
`LinkUnderTest`, `CHECKS`, `Check` and `carry`. `FaultyStream` and `FaultyLink` inject
`Faults`. Only the fixture needs a particular test runner.
"""

from .faults import Faults
from .faulty_link import FaultyLink
from .faulty_stream import FaultyStream, faulty_stream_pair
from .fixtures import ConnectService
from .pair import ConnectedPair, connected_pair

__all__ = [
    "ConnectService",
    "ConnectedPair",
    "Faults",
    "FaultyLink",
    "FaultyStream",
    "connected_pair",
    "faulty_stream_pair",
]
