"""The procedural world of the miniature: shapes, styles, and sets drawn from them."""
