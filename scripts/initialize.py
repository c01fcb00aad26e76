"""The starting points: the zero-shot head, a linear probe that starts from it, a head of zeros."""

import torch

from soups import checkpoints, files, optim
from soups.errors import UserError
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import log, run
from soups.model import Pretrained
from soups.train import linear_probe


def main(job) -> None:
    data = PreparedSet(job.input.images)
    rows = {name: files.read_array(job.input[name]) for name in ("train", "heldout")}
    pretrained = Pretrained.load(job.input.pretrained)
    if data.images.shape[1] != pretrained.image_size:
        raise UserError(
            f"the prepared images are {data.images.shape[1]} pixels a side, but the pre-trained "
            f"model takes {pretrained.image_size}; set data.folders.image_size to that"
        )
    model = pretrained.classifier(len(data.classes)).to(optim.device()).eval()
    zeroshot = pretrained.text_head(data.classes, job.params.templates)
    features = {name: forward(model.features, data.images, index) for name, index in rows.items()}
    labels = torch.from_numpy(data.labels[rows["train"]])
    torch.manual_seed(job.params.probe["seed"])
    probe = linear_probe(features["train"], labels, zeroshot, job.params.probe)

    note = {"pretrained": files.sha256(job.input.pretrained)}
    # `model` has a head of zeros: the start for full fine-tuning, with nothing to evaluate.
    checkpoints.save(job.output.newhead, model.state_dict(), note | {"head": "newhead"})
    heads = {"zeroshot": (zeroshot, torch.zeros(len(zeroshot))), "initialization": probe}
    for name, (weight, bias) in heads.items():
        state = model.state_dict() | {"head.weight": weight, "head.bias": bias}
        logits = features["heldout"] @ weight.T + bias
        files.write_array(job.output[f"{name}_heldout"], logits.numpy())
        checkpoints.save(job.output[name], state, note | {"head": name})
        right = logits.argmax(1).numpy() == data.labels[rows["heldout"]]
        log.info("%s: held-out accuracy %.4f", name, right.mean())


if __name__ == "__main__":
    run(main, snakemake)
