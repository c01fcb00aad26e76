"""Linear probe, fine-tuning and pre-training."""
