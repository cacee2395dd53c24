"""Messages of the protocol and their encoding. `messages` defines plain data,
`envelope` reads and writes its bytes, and `ids` defines the ids in messages.
"""
