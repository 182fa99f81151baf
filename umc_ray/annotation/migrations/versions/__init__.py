"""One module per schema version; add new ones, never change old ones."""
