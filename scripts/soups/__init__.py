"""Model soups: averaging the weights of fine-tuned models (arXiv 2203.05482).

The library, a package per stage. A package imports only from packages above it in this list
(tests/unit/test_packages.py holds it to that):

- ``errors``, ``files``, ``hyperparameters``, ``roles``: modules that every package may import.
- ``jobs``: what every job needs: log, threads, GPUs, saved states, status.
- ``report``: tables for people, and figures, from CSV files alone.
- ``data``: sets of images on disk.
- ``models``: the classifier, architectures, checkpoints.
- ``training``: linear probe, fine-tuning, pre-training.
- ``evaluation``: accuracies, intervals, tests, calibration.
- ``mixing``: recipes, methods, the mixer.
- ``world``: the procedural world of the miniature.
- ``experiment``: what the configuration asks for, worked out without torch.
- ``claims``: the paper's claims and their verdicts.
- ``cost``: what an experiment will cost.
"""
