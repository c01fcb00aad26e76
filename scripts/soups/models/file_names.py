"""Names of files of weights, and of files beside them, without importing any library."""

# All files of weights. The longest endings come first.
ENDINGS = (".safetensors", ".pth.tar", ".ckpt", ".bin", ".pth", ".tar", ".pkl", ".pt", ".th")
# Beginnings of files beside the weights in folders of transformers and accelerate.
NO_WEIGHTS = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "random_states")
# Buffers that some versions of the libraries save and others compute, by the last part of the name.
COMPUTED = (
    "position_ids", "attn_mask", "attention_mask", "relative_position_index",
    "relative_coords_table", "input_resolution", "context_length", "vocab_size",
)  # fmt: skip
