"""Label Studio as the place where people answer: its formats, its API, and what goes both ways."""
