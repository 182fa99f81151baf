"""What models are worth where samples differ from those that they learned from."""
