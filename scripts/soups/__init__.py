"""Model soups: averaging the weights of fine-tuned models (arXiv 2203.05482).

Pure modules: `sweep`, `splits`, `recipes`, `select`, `metrics`, `config`.
Modules that touch disk or device: `files`, `images`, `world`, `model`, `train`, `evaluate`.
"""
