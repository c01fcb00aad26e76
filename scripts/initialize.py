"""Make the starting points of fine-tuning.

They are the zero-shot head, a linear probe that starts from it, and a head of zeros. A model
without a text tower has no zero-shot head, so its probe starts from zeros.
"""

import torch

from soups import files
from soups.data import prompts
from soups.data.images import PreparedSet
from soups.errors import UserError
from soups.jobs import devices
from soups.jobs.job import log, run
from soups.models import checkpoints
from soups.models.classifier import Pretrained
from soups.models.forward import forward
from soups.training.probe import linear_probe


def main(job) -> None:
    train, heldout = PreparedSet(job.input.images[0]), PreparedSet(job.input.heldout[0])
    rows = files.read_array(job.input.train)
    pretrained = Pretrained.load(job.input.pretrained)
    if heldout.images.shape[1] != pretrained.image_size:
        raise UserError(
            f"the prepared images are {heldout.images.shape[1]} pixels wide, expected "
            f"{pretrained.image_size} for the pre-trained model, so set data.folders.image_size to "
            f"{pretrained.image_size}"
        )
    model = pretrained.classifier(len(train.classes)).to(devices.device()).eval()
    zeroshot = pretrained.text_head(train.classes, prompts.templates(job.params.templates))
    start = torch.zeros_like(model.head.weight).cpu() if zeroshot is None else zeroshot
    workers = job.threads - 1
    features = {
        "train": forward(model.features, train.images, rows, workers=workers, exact=True),
        "heldout": forward(model.features, heldout.images, exact=True),
    }
    torch.manual_seed(job.params.probe["seed"])
    labels = torch.from_numpy(train.labels[rows])
    probe = linear_probe(features["train"], labels, start, job.params.probe)

    note = {"pretrained": files.sha256(job.input.pretrained)}
    # `model` has a head of zeros, the start of full fine-tuning. It is not evaluated.
    checkpoints.save(job.output.newhead, model.state_dict(), note | {"head": "newhead"})
    heads = {"initialization": probe}
    if zeroshot is not None:
        heads["zeroshot"] = zeroshot, torch.zeros(len(zeroshot))
    for name, (weight, bias) in heads.items():
        state = model.state_dict() | {"head.weight": weight, "head.bias": bias}
        logits = features["heldout"] @ weight.T + bias
        files.write_array(job.output[f"{name}_heldout"], logits.numpy())
        checkpoints.save(job.output[name], state, note | {"head": name})
        right = logits.argmax(1).numpy() == heldout.labels
        log.info("%s: held-out accuracy %.4f", name, right.mean())


if __name__ == "__main__":
    run(main, snakemake)
