"""A mixed karaoke library, and every layout of it; see `__main__`."""
