"""Image classification: what `soups.problems` asks of a problem."""
