"""Contrastive pre-training of a small CLIP on captioned images (Radford et al., 2021)."""

from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from soups.jobs import compute, devices
from soups.jobs.progress import Progress
from soups.jobs.resume import GeneratorState, Keeper, Losses, Resumable
from soups.models.classifier import Pretrained
from soups.models.tokens import WordTokenizer
from soups.training import optim
from soups.training.augment import augment

MAX_LOGIT_SCALE = np.log(100)  # CLIP's own clamp
BETAS = (0.9, 0.98)


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy between the images and the texts of a batch.

    Args:
        images, texts: unit-length features, shape (n, d); row i of both belong together.
        scale: the logit scale.
    """
    logits = scale * images @ texts.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def pretrain(
    images: np.ndarray,
    captions: list[str],
    extra_texts: list[str],
    architecture: dict,
    settings: dict,
    state: Resumable,
) -> Pretrained:
    """Train a CLIP from scratch.

    Args:
        images: uint8, shape (n, h, w, 3).
        captions: n texts.
        extra_texts: texts whose words must be in the vocabulary too (the prompts).
        architecture: see `Pretrained`.
        settings: ``epochs, horizon, cooldown, batch_size, lr, weight_decay, warmup, clip,
            augment, seed``. The cosine ends after ``horizon`` epochs and is warmed up over
            the fraction ``warmup`` of those; of the ``epochs`` that are trained, the last
            ``cooldown`` take the learning rate linearly to 0.
        state: where an interrupted run continues from; saved as that of a fine-tune is.

    Raises:
        SystemExit: if a signal of `resume.SIGNALS` ended it; called again, it goes on from there.
    """
    seed, epochs = settings["seed"], settings["epochs"]
    size = min(settings["batch_size"], len(images))
    generator = optim.seed_everything(seed)
    context = architecture["text_cfg"]["context_length"]
    words = WordTokenizer.from_texts([*captions, *extra_texts], context).words
    model = Pretrained(architecture, words)
    device = devices.device()
    clip = model.clip.to(device).train()
    tokens = model.tokenizer(captions)
    optimizer = optim.adamw(clip, settings["lr"], settings["weight_decay"], BETAS)
    pixels = model.classifier(1).to(device).pixels

    per_epoch = len(images) // size
    total, horizon = epochs * per_epoch, settings["horizon"] * per_epoch
    warmup, cooldown = int(settings["warmup"] * horizon), settings["cooldown"] * per_epoch
    losses = Losses()
    parts = {"model": clip, "optimizer": optimizer, "noise": GeneratorState(generator)}
    parts |= {"losses": losses}
    first = state.restore(**parts)
    progress = Progress(first, total)
    with Keeper(state, compute.current().save_minutes, parts) as keeper:
        for epoch in range(first // per_epoch, epochs):
            begin, end = epoch * per_epoch, (epoch + 1) * per_epoch
            start = max(first, begin)
            batches = optim.batches(len(images), size, epoch, seed)
            for step, batch in enumerate(islice(batches, start - begin, None), start):
                factor = optim.warmup_cosine(min(step, total - cooldown), horizon, warmup)
                factor = optim.with_cooldown(factor, step, total, cooldown)
                optim.set_lr(optimizer, settings["lr"] * factor)
                x = pixels(torch.from_numpy(images[batch]).to(device))
                x = augment(x, settings["augment"], generator)
                loss = contrastive_loss(
                    clip.encode_image(x, normalize=True),
                    clip.encode_text(tokens[batch].to(device), normalize=True),
                    clip.logit_scale.exp(),
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(clip.parameters(), settings["clip"])
                optimizer.step()
                with torch.no_grad():
                    clip.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
                losses.append(loss.detach())
                progress.step(size, losses[-1])
                if step + 1 < end:
                    keeper.after(step + 1)
            progress.epoch(epoch + 1, torch.stack(losses).mean())
            losses.clear()
            keeper.after(end, epoch=True)
    model.clip = clip.cpu().eval()
    return model
