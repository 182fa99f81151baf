"""What people look at: one page about a run."""
