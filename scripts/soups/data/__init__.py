"""Image sets on disk: find them in folders, decode, split, corrupt, and read them in batches."""
