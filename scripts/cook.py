"""Turn a recipe into a soup, and write the soup's held-out logits."""

from soups import files
from soups.data.images import PreparedSet
from soups.jobs import devices
from soups.jobs.job import run
from soups.mixing import recipes
from soups.mixing.kitchen import weight_files
from soups.mixing.mix import mix
from soups.models import checkpoints
from soups.models.batch_norm import settler
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.forward import forward


def main(job) -> None:
    recipe = files.read_json(job.input.recipe)
    paths, start = weight_files(job), job.params.entry["start"]
    note = {
        "pretrained": Checkpoint(job.input.weights[0]).note["pretrained"],
        "recipe": recipe,
        "ingredients": {name: files.sha256(paths[name]) for name in recipes.used(recipe)},
    }
    heldout = PreparedSet(job.input.heldout[0]).images
    model = load_classifier(job.input.pretrained, job.input.weights[0]).to(devices.device())
    mixed = mix(recipe, paths, start)
    model.load_state_dict(mixed)
    settler(heldout, job.params.recalibrate)(model)
    # In the ingredients' precision; batch statistics may have become others.
    state = {name: value.to(mixed[name].dtype) for name, value in model.state_dict().items()}
    checkpoints.save(job.output.weights, state, note)
    logits = forward(model, heldout, exact=True).numpy()
    files.write_array(job.output.heldout, logits)


if __name__ == "__main__":
    run(main, snakemake)
