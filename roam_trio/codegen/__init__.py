"""Source code in other languages, from services and to services."""
