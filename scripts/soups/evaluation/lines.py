"""Soups and ensembles at the points of a line between two models (paper, figures 3 and 4)."""

from collections.abc import Sequence

from soups.evaluation import loss_gap
from soups.evaluation.samples import BySet, Samples


def ensembles(ends: tuple[BySet, BySet], alphas: Sequence[float]) -> list[BySet]:
    """Logits of the ensembles that weight the second model by each α and the first by 1 − α."""
    one, two = ends
    return [{name: (1 - alpha) * one[name] + alpha * two[name] for name in one} for alpha in alphas]


def compare(
    samples: Samples,
    alphas: Sequence[float],
    soups: Sequence[BySet],
    betas: Sequence[float] | None = None,
) -> tuple[list[dict], list[BySet]]:
    """Compare the soup at every point of a line with the ensemble at that point.

    Args:
        samples: the images on which the logits were computed.
        alphas: α of every point, evenly spaced from 0 to 1.
        soups: logits of the soup at every point. The first and the last are the two models.
        betas: inverse temperature that calibrates each soup, NaN at the ends. With these, the
            rows and arrays also have the paper's approximation of the difference between the
            losses on the test set, see `loss_gap`.

    Returns:
        per point, columns of a table, and per point, arrays for `samples.save_points`:
        ``soup/<set>`` and ``ensemble/<set>``, and with ``betas`` also ``gap/test`` and
        ``approximation/test``.
    """
    mixed = ensembles((soups[0], soups[-1]), alphas)
    rows, points = [], []
    for i, alpha in enumerate(alphas):
        ours, theirs = samples.outcomes(soups[i]), samples.outcomes(mixed[i])
        row = {"alpha": alpha} | samples.row(ours)
        # Both have the same numbers of images, so these columns appear once.
        row |= {f"ensemble_{name}": value for name, value in samples.row(theirs).items()
                if not name.startswith("n_")}  # fmt: skip
        point = {f"soup/{name}": outcomes for name, outcomes in ours.items()}
        point |= {f"ensemble/{name}": outcomes for name, outcomes in theirs.items()}
        if betas is not None:
            path, ensemble = [soup["test"] for soup in soups], mixed[i]["test"]
            labels = samples.labels["test"]
            true, guess, columns = loss_gap.at(i, alphas, path, ensemble, labels, betas[i])
            row |= columns
            point |= {"gap/test": true, "approximation/test": guess}
        rows.append(row)
        points.append(point)
    return rows, points
