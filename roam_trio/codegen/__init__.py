"""Source in other languages, from and for services."""
