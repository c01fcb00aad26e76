"""Model soups: averaging the weights of fine-tuned models (arXiv 2203.05482).

The library, a package per stage. A package imports only from packages above it in this list
(tests/unit/test_packages.py checks this):

- ``errors``, ``files``, ``hyperparameters``, ``outcomes``, ``roles``: modules that every package
  may import.
- ``problems``: what differs between images and texts; every package may import it.
- ``jobs``: log, threads, GPUs, saved states and status, for every job.
- ``report``: tables for people, and figures, from CSV files alone.
- ``data``: sets of examples on disk.
- ``models``: the classifier, architectures, checkpoints.
- ``training``: linear probe, fine-tuning, pre-training.
- ``evaluation``: accuracies, intervals, tests, calibration.
- ``mixing``: recipes, methods, the mixer.
- ``usage``: a finished soup: predictions, exports, provenance.
- ``doctor``: a verdict on every ingredient, with evidence and advice.
- ``world``: the procedural world of the miniature.
- ``experiment``: the models, tables and figures of a configuration, without torch.
- ``setup``: new experiments from files of models and folders of images.
- ``images``, and
- ``text``: the problems, which all other packages reach through ``problems``.
- ``claims``: the paper's claims and their verdicts.
- ``cost``: the expected cost of an experiment.
"""

__version__ = "0.1.0"
