"""Fixtures for the tests of telemetry."""

from .recorded import recorded

__all__ = ["recorded"]
