"""The doctor's thresholds, each with its reason. docs/doctor.md explains them to users.

All but `HARDLY` and `PAIRED` were set before the doctor saw a model, and the default sweep changed
none of them. Models made with a learning rate that is far too large changed three rules. The
barrier is measured from the chord instead of the worse model, because a weak model hides a drop.
The margin of a collapse is that of a barrier. `HARDLY` was added. `PAIRED` came with clusters.
"""

from soups import outcomes

# Two random vectors in d dimensions have a cosine near 0, with a standard deviation of 1/√d. That
# is below 0.05 for the smallest first layers. Fine-tunes of one model usually stay above 0.9. The
# threshold lies far from both.
SAME_START = outcomes.SAME_START  # cosine of first layers or of weight matrices
# Freshly drawn heads are uncorrelated at first. Training draws them towards the same classes, so
# their correlation rises, but it stays below that of heads with a common start.
SAME_HEAD = 0.3
# A common scale of the weights changes no cosine. A model whose weights have grown to several times
# the length of the others' has left its start by a learning rate that was too large.
GROWN = 3.0  # length of the weight matrices, relative to the start or to the best model

# A barrier counts if the lower bound of its 95% interval exceeds two points. Lines between healthy
# models lie above the chord between their ends, so noise alone hardly ever reaches the threshold,
# even in sweeps with 72 models. The same margin holds for the collapse of the uniform soup.
BARRIER = outcomes.BARRIER
INSIDE = (0.25, 0.75)  # further points of a line whose midpoint shows a drop
EXAMPLES = 1000  # most held-out examples on which points of lines are evaluated

# Models with a barrier to the best model are compared in pairs, the best of them first. Two models
# are connected if their midpoint is at most `BARRIER` below the chord, whatever the interval.
PAIRED = 10  # most of these models, so that there are at most 45 midpoints

# A model that confuses two classes gains little from a renaming of its classes. A model with
# another order gains nearly everything.
CLASS_ORDER = 0.05  # accuracy that the best renaming of classes gains, lower bound of the interval
RENAMED = 0.5  # accuracy after the renaming, relative to the best model

CHANCE = 0.05  # level of the test against guessing
# Many held-out examples detect any accuracy above chance. A model that learned this little failed.
HARDLY = 0.1  # share of the errors of a guess that it avoids, relative to the best model

# Copies in float16 or bfloat16 differ by at most 2⁻⁸ of every value.
ROUNDING = 2.0**-8
FLOOR = 2.0**-24  # the smallest positive number of float16
COPIED = 0.999  # share of the values within the rounding
# Runs with other seeds are at angles of 40° and more as seen from their start. A distance of 5% of
# the change is an angle of 3°.
NEARLY_EQUAL = 0.05  # distance between two models, relative to their change

# Barely trained models predict like the start. Both conditions must hold.
UNCHANGED = 0.005  # largest share of held-out examples with another prediction
STILL = 0.01  # length of the change, relative to the median change of the models

# Statistics of batch normalisation are the cause if a new measurement removes half of the drop.
RECOVERED = 0.5
RECALIBRATION = 1000  # most held-out examples for the measurement
