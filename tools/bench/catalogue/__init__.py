"""Shows of catalogues; see `__main__`."""
