"""Releases: the labeled samples as a dataset, with card, Croissant file and provenance."""
