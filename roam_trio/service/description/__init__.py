"""Services as plain data: describing, comparing, and making descriptors from it.

Nothing of this is imported before a program asks for a description.
"""
