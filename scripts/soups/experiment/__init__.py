"""The configuration, and everything derived from it before any job starts, without torch."""
