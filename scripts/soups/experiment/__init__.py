"""What the configuration asks for, worked out before any job starts; needs no torch."""
