"""The campaign file: its sections, how it is read, and the template that `umc init` writes."""
