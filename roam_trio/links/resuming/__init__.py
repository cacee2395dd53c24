"""A link that outlives its links: sequence numbers, acknowledgements and replay.

What decides, and knows no trio: `hello`, `sequence`, `replay`, `exchange` and `keys`.
What waits: `source` (where links come from), `handshake` and `resuming` (one link after
the other).
"""
