"""Write the weights of a recipe's soup, and the soup's held-out logits."""

from soups import files
from soups.data.prepared import PreparedSet
from soups.jobs.job import log, run
from soups.mixing import recipes
from soups.mixing.kitchen import weight_files
from soups.mixing.mixed_model import MixedModel
from soups.models import card, checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.forward import forward
from soups.models.usable import is_usable


def main(job) -> None:
    recipe, paths = files.read_json(job.input.recipe), weight_files(job)
    start = job.params.entry["start"]
    model, state = MixedModel.of_job(job, paths, start).cooked(recipe)
    # A merge reads its start even if the start has no coefficient.
    mixed_in = recipes.used(recipe) + ([start] if start and "merge" in recipe else [])
    note = {
        "pretrained": Checkpoint(paths[mixed_in[0]]).note["pretrained"],
        "recipe": recipe,
        "ingredients": {name: files.sha256(paths[name]) for name in mixed_in},
        "order": mixed_in,  # of the sum, because a header's keys are sorted
    }
    note |= card.of_job(job, model) | card.provenance(job.config, job.params.entry)
    checkpoints.save(job.output.weights, state, note)
    logits = forward(model, PreparedSet(job.input.heldout[0]).inputs, exact=True).numpy()
    files.write_array(job.output.heldout, logits)
    if not is_usable(logits):
        log.warning("held-out logits of the soup are NaN or infinite. They count as wrong.")


if __name__ == "__main__":
    run(main, snakemake)
