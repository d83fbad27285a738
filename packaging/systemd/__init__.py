"""Data only: the units that `edgestem service` fills in and packages ship."""
