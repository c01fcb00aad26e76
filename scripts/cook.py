"""Turn a recipe into a soup, and write the soup's held-out logits."""

from soups import checkpoints, files, optim, recipes
from soups.checkpoints import Checkpoint
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import run
from soups.kitchen import weight_files
from soups.mixing import mix
from soups.model import load_classifier


def main(job) -> None:
    recipe = files.read_json(job.input.recipe)
    paths, start = weight_files(job), job.params.entry["start"]
    note = {
        "pretrained": Checkpoint(job.input.weights[0]).note["pretrained"],
        "recipe": recipe,
        "ingredients": {name: files.sha256(paths[name]) for name in recipes.used(recipe)},
    }
    checkpoints.save(job.output.weights, mix(recipe, paths, start), note)

    data = PreparedSet(job.input.images)
    model = load_classifier(job.input.pretrained, job.output.weights).to(optim.device())
    logits = forward(model, data.images, files.read_array(job.input.heldout)).numpy()
    files.write_array(job.output.heldout, logits)


if __name__ == "__main__":
    run(main, snakemake)
