"""The scoring endpoint: one Ray Serve deployment that always answers with the newest round."""
