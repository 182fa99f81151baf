"""Pure functions on arrays: what to ask, whom to believe, when to stop. Nothing here knows Ray."""
