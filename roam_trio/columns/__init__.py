"""Lists of records in columns, between two roam_trio peers that have agreed on it.

`method` is the door: a service's client and dispatcher ask it whether a method has
columns. `entry` is what peers say of it in metadata; `plan` encodes and decodes.
"""
