"""Text classification with the models of Hugging Face transformers."""
