"""The page people label in, its accounts, and the REST API beside it."""
