"""The greedy soup: ingredients in order of held-out accuracy, each kept if it does not hurt."""

import numpy as np
import torch

from soups import files, recipes
from soups.evaluate import HeldoutScorer
from soups.images import PreparedSet
from soups.job import log, run
from soups.model import load_classifier
from soups.select import by_score, greedy


def main(job) -> None:
    data = PreparedSet(job.input.images)
    heldout = files.read_array(job.input.heldout)
    labels = data.labels[heldout]
    weights = dict(zip(job.params.models, job.input.weights, strict=True))
    logits = dict(zip(job.params.models, job.input.logits, strict=True))
    scores = {m: float((np.load(path).argmax(1) == labels).mean()) for m, path in logits.items()}

    model = load_classifier(job.input.pretrained, job.input.weights[0])
    images = data.images[heldout]
    scorer = HeldoutScorer(model, weights, images, torch.from_numpy(labels))
    # The score of a single model is known already.
    chosen, trace = greedy(
        by_score(scores), lambda names: scores[names[0]] if len(names) == 1 else scorer(names)
    )
    log.info("%d of %d ingredients: %s", len(chosen), len(scores), ", ".join(chosen))
    recipe = recipes.uniform(chosen, trace=trace, heldout_images=len(heldout))
    files.write_json(job.output[0], recipe | {"method": "greedy"})


if __name__ == "__main__":
    run(main, snakemake)
