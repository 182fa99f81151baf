"""The scoring endpoint: a Ray Serve deployment that always serves the published round."""
