"""How work is spread over a Ray cluster: connecting, available slots, streamed passes."""
