"""Verdicts: on the paper's claims and their tests in claims.csv, on models in doctor.csv."""

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
NO_DIFFERENCE = "no difference"
INCONCLUSIVE = "inconclusive"
CHECKED = "checked"  # of a claim that holds by construction
NOT_TESTED = "not tested"
# Verdicts on the gain of a method over the best individual model in the small-data study.
HELPS, HURTS, UNDECIDED = "helps", "hurts", "undecided"
# The axis of that study that `evaluation.gains.trend` fits, with values in percent.
IMAGES_AXIS = "training images"
# The axis of that study on which held-out sets are drawn again for the same models.
HELDOUT_AXIS = "held-out images per class"
# The doctor's verdict on a model that soups may contain. `doctor.verdicts` has the others.
FINE = "fine"
# Cosine or correlation of weights, from which two models count as fine-tunes of one start.
SAME_START = 0.3
# Two estimates of a second derivative agree if they differ by at most this share of the first.
AGREEMENT = 0.5
BARRIER = 0.02  # accuracy; a barrier counts if its 95% interval lies above
# Where distances and angles of doctor.csv are seen from: θ₀, or the mean of the models without it.
FROM_START, FROM_MEAN = "start", "mean"
# What the sentences of doctor_summary.csv are about.
MODELS, START, TODO = "models", "start", "what to do"
UNIFORM_SOUP, COLLAPSED = "uniform soup", "uniform soup, collapsed"
CLUSTERS = "clusters"
ALONE = "greedy soup of one model"  # what it means if the greedy soup keeps one model
