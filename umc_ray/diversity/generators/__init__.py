"""What makes synthetic samples: one file per kind, one line in the registry."""
