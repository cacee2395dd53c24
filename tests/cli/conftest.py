"""Fixtures for verbs."""

from __future__ import annotations

import pytest

from roam_trio.cli.output import Output


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output as for people, without a terminal."""
    made = Output.__init__

    def pretty(self: Output, *, as_json: bool = False) -> None:
        made(self, as_json=as_json)
        self.is_pretty = not as_json

    monkeypatch.setattr(Output, "__init__", pretty)
