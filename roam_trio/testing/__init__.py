"""Tools for testing what is built with roam_trio, or for it.

`roam_trio.testing.link_conformance` holds the checks that every link must pass; run
them on a link of your own. Its names are public: `LinkUnderTest`, `CHECKS`, `Check` and
`carry`. Nothing here needs a particular test runner.
"""
