"""Ingest sources into a pool: stable ids, exact duplicates kept once, bad rows in quarantine."""
