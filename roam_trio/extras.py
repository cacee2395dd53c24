"""The part of an error that says how to install an extra whose package is missing."""

from __future__ import annotations


def how_to_install(*extras: str) -> str:
    """Return how to install roam_trio with extras; docs/install.md has the rest."""
    several = "s" if len(extras) > 1 else ""
    named = " and ".join(repr(each) for each in extras)
    return (
        f"install roam_trio with the extra{several} {named}: in a checkout, "
        f"python -m pip install '.[{','.join(extras)}]'"
    )
