"""The second loop: find what the labeled samples lack, and fill it the cheapest way that works."""
