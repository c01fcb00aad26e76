"""State dicts of any layout as those of a `Classifier`, with classes in the order of the data."""
