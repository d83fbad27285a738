"""Data only: the models that come with edgestem."""
