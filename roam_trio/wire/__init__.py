"""The messages of the protocol, and their bytes.

`messages` are plain data, `envelope` reads and writes them, `ids` are the numbers that
they carry.
"""
