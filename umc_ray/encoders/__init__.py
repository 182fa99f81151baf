"""Frozen models that turn samples into embeddings."""
