"""Where people answer: a sheet, the page, Label Studio, or recorded answers."""
