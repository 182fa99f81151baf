"""How work is spread over a Ray cluster: connect, what fits, streamed passes."""
