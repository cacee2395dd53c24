"""Pages of the documentation that readers follow: they are followed here."""
