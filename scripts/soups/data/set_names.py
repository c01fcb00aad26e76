"""Names that no shift may have: other sets, and columns of tables that have a column per shift.

A test compares them with the recorded tables.
"""

from collections.abc import Iterable, Mapping

from soups.errors import UserError

RESERVED_COLUMNS = {
    "train", "test", "corpus", "heldout", "model", "method", "members", "ingredients",
    "inference_cost", "shifts_mean", "kind", "variant", "alpha", "n", "start", "model_1",
    "model_2", "lr_1", "lr_2", "angle", "distance_1", "distance_2", "differ", "order", "large",
    "slice", "tasks", "of", "models", "beta", "variance", "soup_loss", "curvature",
    "curvature_wide", "draw", "per_class",
}  # fmt: skip
RESERVED_BEGINNINGS = ("n_", "ensemble_", "test_", "shifts_mean_", "gap")
RESERVED_ENDINGS = ("_lo", "_hi", "_sd", "_top")


def is_reserved(name: str) -> bool:
    """Whether a set or a column of the tables has this name, or one of this kind."""
    ends = name.startswith(RESERVED_BEGINNINGS) or name.endswith(RESERVED_ENDINGS)
    return ends or name in RESERVED_COLUMNS


def check(key: str, shifts: Mapping, hyperparameters: Iterable[str]) -> None:
    """Check the names of the shifts, and that there is one.

    Args:
        key: config key of the shifts, for messages.
        shifts: name to shift, or to null if it is switched off.
        hyperparameters: names of the hyperparameters, which are columns too.

    Raises:
        UserError: with the first reserved name, or if all shifts are null.
    """
    taken = set(hyperparameters)
    for name in shifts:
        if name in taken or is_reserved(name):
            raise UserError(
                f"{key} has the name {name!r}, expected another one because a set or "
                "a column of the tables has this name"
            )
    if not any(shifts.values()):
        raise UserError(f"{key} has no shift that is switched on, expected at least one")
