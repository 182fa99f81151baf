"""The annotation page, its user accounts, and the REST API."""
