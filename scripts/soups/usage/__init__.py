"""The use of a finished soup: predictions, exports to other libraries, and its provenance."""
