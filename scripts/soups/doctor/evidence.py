"""The evidence about one model, which is also its row of doctor.csv."""

from dataclasses import dataclass, field

from soups.doctor.lines import Barrier
from soups.outcomes import FROM_MEAN


@dataclass
class Evidence:
    """What was measured about a model that can be read. Accuracies are fractions.

    Attributes:
        model: its id.
        heldout: accuracy on the held-out examples.
        n_heldout: number of these examples.
        guess: accuracy of a guess, see `predictions.chance`.
        renamed: accuracy after the best renaming of its classes.
        other_order: whether that renaming shows another order of classes.
        at_chance: whether the model is no better than guessing.
        is_best: whether the others are compared with this model, the best of those that share a
            start, a head and a basin with most others.
        relative: whether it shares the start of the best model.
        first_layer: cosine of its first layer with that of the start, or of the best model.
        backbone: the same of its weight matrices.
        head: correlation of its head with that of the start, or of the best model.
        same_head: whether its head is correlated with those of the models that belong together.
        length: length of its weight matrices relative to the start's or the best model's.
        origin: `FROM_START` or `FROM_MEAN`, the point that distances and angles are seen from.
        distance: to that point.
        angle: in degrees, between the changes of this and of the best model from there.
        to_best: distance to the best model.
        head_distance: distance between the heads, to the start or to the best model.
        relative_change: ``distance`` relative to the median of all models that share the start.
        changed: share of the held-out examples that the start predicts otherwise, None without it.
        twin: the earlier model whose weights it has, or None.
        twin_distance: distance to the twin, relative to the length of its weights.
        barrier: of the line to the best model, None for the best model itself.
        n_barrier: number of examples on which the line was evaluated.
        cluster: number of its cluster, 1 for that of the best model, None if it is in no cluster.
        members: the models of this cluster, the best first.
        partner: another member with the best midpoint, None in the first cluster.
        midpoint: the point halfway to it.
    """

    model: str
    heldout: float
    n_heldout: int
    guess: float
    renamed: float = float("nan")
    other_order: bool = False
    at_chance: bool = False
    is_best: bool = False
    relative: bool = True
    first_layer: float = float("nan")
    backbone: float = float("nan")
    head: float = float("nan")
    same_head: bool = True
    length: float = float("nan")
    origin: str = FROM_MEAN
    distance: float = float("nan")
    angle: float = float("nan")
    to_best: float = float("nan")
    head_distance: float = float("nan")
    relative_change: float = float("nan")
    changed: float | None = None
    twin: str | None = None
    twin_distance: float = float("nan")
    barrier: Barrier | None = field(default=None)
    n_barrier: int = 0
    cluster: int | None = None
    members: tuple[str, ...] = ()
    partner: str | None = None
    midpoint: Barrier | None = None

    def row(self) -> dict:
        """Columns of doctor.csv."""
        barrier, midpoint = self.barrier, self.midpoint
        return {
            "heldout": self.heldout,
            "n_heldout": self.n_heldout,
            "is_best": self.is_best,
            "origin": self.origin,
            "distance": self.distance,
            "angle": self.angle,
            "distance_to_best": self.to_best,
            "relative_change": self.relative_change,
            "head_distance": self.head_distance,
            "first_layer_correlation": self.first_layer,
            "backbone_cosine": self.backbone,
            "head_correlation": self.head,
            "relative_length": self.length,
            "barrier": barrier.drop if barrier else None,
            "barrier_lo": barrier.low if barrier else None,
            "barrier_hi": barrier.high if barrier else None,
            "barrier_alpha": barrier.alpha if barrier else None,
            "barrier_recalibrated": barrier.recalibrated if barrier else None,
            "n_barrier": self.n_barrier,
            "renamed": self.renamed,
            "changed": self.changed,
            "duplicate_of": self.twin,
            "cluster": self.cluster,
            "partner": self.partner,
            "partner_barrier": midpoint.drop if midpoint else None,
            "partner_barrier_lo": midpoint.low if midpoint else None,
            "partner_barrier_hi": midpoint.high if midpoint else None,
        }
