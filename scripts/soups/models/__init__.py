"""The classifier, its architectures, and checkpoints, ours and others'."""
