"""Accuracies, intervals, tests between methods, and calibration, all computed from logits."""
