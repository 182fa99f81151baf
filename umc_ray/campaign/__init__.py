"""A campaign: rounds in sequence, their stages, and what is published. Read round.py first."""
