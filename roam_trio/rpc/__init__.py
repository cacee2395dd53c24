"""Interfaces between services and sessions, for making and answering calls.

A session uses a service only through a `Handler`, and a client uses a session only
through a `Caller`. This room does not decode values.
"""
