"""Small campaigns to copy."""
