"""The metric, intervals, tests between methods, and calibration, all computed from logits."""
