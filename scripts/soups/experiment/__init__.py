"""The configuration, and what is worked out from it before any job starts, without torch."""
