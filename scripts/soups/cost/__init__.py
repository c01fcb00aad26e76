"""The expected cost of an experiment, from measured speeds."""
