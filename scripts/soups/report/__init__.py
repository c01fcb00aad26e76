"""Tables for people, and figures, drawn from CSV files alone."""
