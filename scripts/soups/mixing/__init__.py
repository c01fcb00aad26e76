"""Recipes, the methods that choose them, and the mixer that turns them into weights."""
