"""From logits to accuracies, intervals, tests between methods, and calibration."""
