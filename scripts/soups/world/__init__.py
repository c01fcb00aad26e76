"""The procedural world of the miniature experiment: shapes, styles, and sets of drawn images."""
