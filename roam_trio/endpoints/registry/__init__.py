"""Registries, which know the servers of services for as long as these live."""
