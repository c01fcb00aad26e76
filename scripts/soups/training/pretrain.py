"""Contrastive pre-training of a small CLIP on captioned images (Radford et al., 2021)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from soups.jobs import compute, devices
from soups.jobs.progress import TrainingProgress
from soups.jobs.resume import GeneratorState, Keeper, Losses, Resumable
from soups.models.pretrained import Pretrained
from soups.models.tokens import WordTokenizer
from soups.training import divergence, optim
from soups.training.augment import augment
from soups.training.schedule import Schedule

MAX_LOGIT_SCALE = np.log(100)  # CLIP's own limit
BETAS = (0.9, 0.98)  # CLIP's for AdamW


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy between the images and the texts of a batch.

    Args:
        images, texts: float, shape (n, d), unit-length features. Row i of the images belongs to
            row i of the texts.
        scale: 0-dimensional, the logit scale.
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
        extra_texts: texts whose words also enter the vocabulary (the prompts).
        architecture: see `Pretrained`.
        settings: ``epochs, horizon, cooldown, batch_size, lr, weight_decay, warmup, clip,
            augment, seed``. The cosine ends after ``horizon`` epochs, and its warm-up takes the
            fraction ``warmup`` of them. Training runs for ``epochs``. In the last ``cooldown``
            epochs the learning rate falls linearly to 0.
        state: the saved state that an interrupted run resumes from, as for `finetune`.

    Returns:
        the trained model on the CPU, in evaluation mode.

    Raises:
        UserError: if the loss or the weights became NaN or infinite, see `divergence`.
        SystemExit: if a signal of `resume.SIGNALS` ended the run. Another call resumes it.
    """
    lr, seed = settings["lr"], settings["seed"]
    size = min(settings["batch_size"], len(images))
    generator = optim.seed_everything(seed)
    context = architecture["text_cfg"]["context_length"]
    words = WordTokenizer.from_texts([*captions, *extra_texts], context).words
    model = Pretrained(architecture, words)
    device = devices.device()
    clip = model.clip.to(device).train()
    tokens = model.tokenizer(captions)
    optimizer = optim.adamw(clip, lr, settings["weight_decay"], BETAS)
    pixels = model.classifier(1).to(device).pixels

    schedule = Schedule.pretraining(settings, len(images) // size)
    losses = Losses()
    parts = {"model": clip, "optimizer": optimizer, "noise": GeneratorState(generator)}
    parts |= {"losses": losses}
    done = state.restore(**parts)
    progress = TrainingProgress(done, schedule.total)
    watch = divergence.Watch(clip, lr, schedule.total)
    with Keeper(state, compute.current().save_minutes, parts) as keeper, devices.attention():
        for epoch, steps in schedule.epochs(done):
            batches = list(optim.batches(len(images), size, epoch, seed))
            for step in steps:
                batch = batches[step % schedule.per_epoch]
                optim.set_lr(optimizer, lr * schedule.factor(step))
                x = pixels(devices.send(torch.from_numpy(images[batch]), device))
                x = augment(x, settings["augment"], generator)
                loss = contrastive_loss(
                    clip.encode_image(x, normalize=True),
                    clip.encode_text(devices.send(tokens[batch], device), normalize=True),
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
                watch.look(losses, step + 1, last=step == steps[-1])
                if step != steps[-1]:
                    keeper.after(step + 1)
            progress.epoch(epoch + 1, torch.stack(losses).mean())
            losses.clear()
            done = steps[-1] + 1
            keeper.after(done, epoch=True, last=done == schedule.total)
    watch.end()
    model.clip = clip.cpu().eval()
    return model
