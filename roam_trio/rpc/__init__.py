"""Where services and sessions meet: how calls are made, and how they are answered.

A session knows a service only as a `Handler`, and a client knows a session only as a
`Caller`. Nothing here looks into an encoded value.
"""
