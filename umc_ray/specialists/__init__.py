"""The members of a task's ensemble, and how they are trained."""
