"""Turn a recipe into a soup, and write the soup's held-out logits."""

from soups import checkpoints, files, optim
from soups.checkpoints import Checkpoint
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import run
from soups.model import load_classifier
from soups.recipes import mix


def main(job) -> None:
    recipe = files.read_json(job.input.recipe)
    paths = dict(zip(job.params.models, job.input.weights, strict=True))
    used = {name: paths[name] for name, weight in recipe["coefficients"].items() if weight}
    note = {
        "pretrained": Checkpoint(next(iter(used.values()))).note["pretrained"],
        "recipe": recipe,
        "ingredients": {name: files.sha256(path) for name, path in used.items()},
    }
    checkpoints.save(job.output.weights, mix(recipe, used), note)

    data = PreparedSet(job.input.images)
    model = load_classifier(job.input.pretrained, job.output.weights).to(optim.device())
    logits = forward(model, data.images, files.read_array(job.input.heldout)).numpy()
    files.write_array(job.output.heldout, logits)


if __name__ == "__main__":
    run(main, snakemake)
