"""Benchmarks: one file per question; `python -m benchmarks` lists them."""
