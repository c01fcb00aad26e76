"""The soup doctor: one plain verdict for every ingredient, with the evidence and an advice.

The doctor judges by accuracy, whatever the metric of the experiment, because its thresholds and
tests are about shares of right predictions.
"""
