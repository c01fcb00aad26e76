"""The soup doctor: one plain verdict for every ingredient, with the evidence and an advice."""
