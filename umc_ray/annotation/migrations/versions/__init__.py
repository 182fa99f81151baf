"""One module per version; new ones are added, old ones never change."""
