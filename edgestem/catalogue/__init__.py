"""Catalogues: many songs on many machines, each published once, with a receipt."""
