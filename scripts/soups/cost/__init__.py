"""What an experiment will cost, from measured speeds."""
