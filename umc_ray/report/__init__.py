"""The report of a run, one HTML page, and the output of `umc status`."""
