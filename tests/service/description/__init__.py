"""Tests of services as plain data."""
