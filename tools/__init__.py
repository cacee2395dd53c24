"""What makes the documentation: `python -m tools.NAME` in a checkout."""
