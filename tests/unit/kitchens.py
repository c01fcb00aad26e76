"""A tiny kitchen for the tests of methods and plans."""

from pathlib import Path

import numpy as np
import torch

from soups.jobs import devices
from soups.mixing import methods
from soups.mixing.kitchen import Kitchen
from soups.models import checkpoints
from soups.models.batch_norm import kept
from soups.models.forward import forward
from soups.models.pretrained import Pretrained
from soups.roles import INITIALIZATION

NAMES = ["m0", "m1", "m2", "m3"]
HELDOUT = slice(None, None, 2)  # Every other image is held out.


def tiny_kitchen(
    pretrained: Pretrained, folder: Path, images: np.ndarray, labels: np.ndarray
) -> Kitchen:
    """Return a kitchen of four random models around a start, with a uniform and a greedy soup.

    Args:
        pretrained: the pre-trained model.
        folder: where weights are written.
        images, labels: all images; every other one is held out.
    """
    generator = torch.Generator().manual_seed(0)
    model = pretrained.classifier(4).to(devices.device()).eval()
    start = {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}
    start["head.weight"] = torch.randn(start["head.weight"].shape, generator=generator)
    paths, logits = {}, {}
    for name in [INITIALIZATION, *NAMES]:
        # The models are far enough apart that their soups disagree.
        moved = 0 if name == INITIALIZATION else 0.3
        state = {
            key: tensor + moved * torch.randn(tensor.shape, generator=generator)
            for key, tensor in start.items()
        }
        paths[name] = folder / f"{name}.safetensors"
        checkpoints.save(paths[name], state, {"pretrained": "one"})
        model.load_state_dict(state)
        logits[name] = forward(model, images).numpy()
    heldout = {name: values[HELDOUT] for name, values in logits.items()}
    kitchen = Kitchen(
        ingredients=NAMES,
        pool=NAMES,
        start=INITIALIZATION,
        paths=paths,
        logits=heldout.__getitem__,
        labels=labels[HELDOUT],
        inputs=images[HELDOUT],
        make_model=lambda: model,
        settle=kept,
    )
    kitchen.made = {name: getattr(methods, name)(kitchen) for name in ("uniform", "greedy")}
    return kitchen
