"""The miniature's procedural image-text world: drawn classes, styles, captions, sets."""
