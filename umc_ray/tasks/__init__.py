"""Kinds of tasks: one file owns everything that depends on the kind of answer."""
