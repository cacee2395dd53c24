"""Clients that outlive their sessions and servers."""
