"""Pre-train a small CLIP on the captioned corpus."""

from pathlib import Path

from soups import files
from soups.jobs.job import run
from soups.jobs.resume import Resumable
from soups.training.pretrain import pretrain


def main(job) -> None:
    images = files.read_array(job.input.images)
    captions = Path(job.input.captions).read_text(encoding="utf-8").splitlines()
    names = files.read_json(job.input.train)["mapping"]
    prompts = [t.format(name) for t in job.params.templates for name, _ in names]
    recipe = {"architecture": job.params.architecture, "settings": job.params.settings}
    inputs = {
        "images": files.sha256(job.input.images),
        "captions": files.sha256(job.input.captions),
    }
    # The prompts matter, because their words enter the vocabulary.
    identity = recipe | inputs | {"prompts": prompts, "stage": job.params.stage}
    state = Resumable(job.params.state, identity, "pretrained")

    model = pretrain(images, captions, prompts, **recipe, state=state)
    model.save(job.output[0], recipe | {"corpus": inputs})
    state.remove()


if __name__ == "__main__":
    run(main, snakemake)
