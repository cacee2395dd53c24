"""Neighbours of trio programs, each behind an extra of its name."""
