"""The classifier, its architectures, and checkpoints of this workflow and of other sources."""
