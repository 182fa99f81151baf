"""Pure functions on arrays: scoring, selection, consensus, statistics. No module imports Ray."""
