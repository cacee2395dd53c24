"""Tests of the TypeScript that is made from services."""
