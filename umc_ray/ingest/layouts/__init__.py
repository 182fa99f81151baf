"""Datasets as they were published: a file for each layout, and what they have in common."""
