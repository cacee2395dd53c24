"""The reserved services: which services a side offers, what they are, and whether they
take calls.

Nothing of this is imported before a program offers or asks for it.
"""
