"""Write the weights of a recipe's soup, and the soup's held-out logits."""

from soups import files
from soups.data.images import PreparedSet
from soups.jobs.job import run
from soups.mixing import recipes
from soups.mixing.kitchen import weight_files
from soups.mixing.mixed_model import MixedModel
from soups.models import card, checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.forward import forward


def main(job) -> None:
    recipe, paths = files.read_json(job.input.recipe), weight_files(job)
    start = job.params.entry["start"]
    # A merge reads its start even if the start has no coefficient.
    mixed_in = recipes.used(recipe) + ([start] if start and "merge" in recipe else [])
    note = {
        "pretrained": Checkpoint(job.input.weights[0]).note["pretrained"],
        "recipe": recipe,
        "ingredients": {name: files.sha256(paths[name]) for name in mixed_in},
    }
    model, state = MixedModel.of_job(job, paths, start).cooked(recipe)
    note |= card.of_job(job, model) | card.provenance(job.config, job.params.entry)
    checkpoints.save(job.output.weights, state, note)
    logits = forward(model, PreparedSet(job.input.heldout[0]).images, exact=True).numpy()
    files.write_array(job.output.heldout, logits)


if __name__ == "__main__":
    run(main, snakemake)
