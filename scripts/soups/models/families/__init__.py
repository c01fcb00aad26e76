"""Image classifiers of other libraries than open_clip, with one module per library."""
