"""Interfaces between services and sessions, for making and answering calls.

A session knows a service only as a `Handler`, and a client knows a session only as a
`Caller`. Nothing here looks into an encoded value.
"""
