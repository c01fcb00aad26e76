"""End-to-end fine-tuning, the second half of LP-FT (Kumar et al., 2022)."""

from itertools import islice

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms.v2 import MixUp

from soups.data.loading import Images, Reader, Transforms
from soups.errors import UserError
from soups.jobs import compute, devices, distributed
from soups.jobs.progress import Progress
from soups.jobs.resume import GeneratorState, Keeper, Losses, Resumable
from soups.models.classifier import Classifier
from soups.training import optim
from soups.training.augment import augment
from soups.training.step import Step


def finetune(
    model: Classifier,
    images: Images,
    labels: np.ndarray,
    rows: np.ndarray,
    h: dict,
    state: Resumable,
    teacher: np.ndarray | None = None,
    workers: int = 0,
) -> Classifier:
    """Fine-tune all weights with one configuration of the sweep.

    AdamW, linear warm-up and cosine, gradient clipping, label smoothing, mixup and
    augmentation (paper, appendix J.2); if asked for, an average of the weights along the
    way (`weight_average`), SAM (`optim.ascended`) and distillation (`distillation_loss`).
    Statistics of batch normalisation stay those of the pre-trained model, so that they are
    the same for every ingredient. How it is computed stands under `compute` in the
    configuration; of several processes (`distributed`) all call this and get the same weights.

    Args:
        model: starts from the linear probe, the zero-shot head or one of zeros; trained in place.
        images: uint8, shape (n, h, w, 3): an array, may be a memory map, or files.
        labels: int64, shape (n,).
        rows: indices of the training images; the held-out ones are not among them.
        h: the hyperparameters; ``epochs`` may be a fraction or 0 (no step), ``warmup`` is a
            fraction of all steps or their number, ``mixup`` is the Beta distribution's parameter,
            ``swa`` the share of the last steps that is averaged, ``sam`` is ρ, ``distill`` the
            share of the teacher in the loss.
        state: where an interrupted run continues from; it is saved at the end of every epoch,
            every `compute.save_minutes`, and before a signal of `resume.SIGNALS` ends the run.
        teacher: its logits on the training images, shape (len(rows), classes), for ``distill``.
        workers: processes that read and transform images ahead of their use.

    Raises:
        UserError: if the device or the image tower cannot do what the configuration asks for,
            a batch is smaller than the number of processes, or an image cannot be read.
        SystemExit: if a signal ended it; called again, it goes on from there.
    """
    device, chosen = devices.device(), compute.current()
    generator = optim.seed_everything(h["seed"])
    layout = torch.channels_last if chosen.channels_last else torch.preserve_format
    model.to(device, memory_format=layout).train()
    freeze_batch_norm(model)
    if chosen.checkpoint_activations:
        devices.checkpointing(model.visual, True)
    optimizer = optim.adamw(model, h["lr"], h["weight_decay"], layer_decay=h["layer_decay"])
    average = weight_average(model, h["ema"], h["swa"])
    mixup = MixUp(alpha=h["mixup"], num_classes=model.head.out_features) if h["mixup"] else None
    reader = Reader(images, workers, Transforms.of(h, images.shape[1]), h["seed"])
    take_step = Step(model, optimizer, h)

    size = min(h["batch_size"], len(rows))
    if size < distributed.world():
        raise UserError(f"compute.gpus is {chosen.gpus}, expected at most a batch's {size} images")
    per_epoch = len(rows) // size
    total = max(1, round(h["epochs"] * per_epoch)) if h["epochs"] else 0
    warmup = optim.warmup_steps(h["warmup"], total)
    averaged_from = total - max(1, round(h["swa"] * total)) if h["swa"] else 0
    losses = Losses()
    parts = {"model": model, "optimizer": optimizer, "noise": GeneratorState(generator)}
    parts |= {"scaler": take_step.scaler, "losses": losses}
    parts |= {"average": average} if average else {}
    first = state.restore(**parts)
    progress = Progress(first, total)
    epochs = range(first // per_epoch, -(-total // per_epoch)) if first < total else ()
    with Keeper(state, chosen.save_minutes, parts) as keeper:
        for epoch in epochs:
            begin = epoch * per_epoch
            start, end = max(first, begin), min(begin + per_epoch, total)
            batches = optim.batches(len(rows), size, epoch, h["seed"])
            mine = [distributed.part(b) for b in islice(batches, start - begin, end - begin)]
            pixels = progress.waiting(reader.read((rows[batch] for batch in mine), epoch))
            for step, (batch, x) in enumerate(zip(mine, pixels, strict=True), start):
                factor = optim.warmup_cosine(step, total, warmup)
                if h["swa_lr"] and step >= averaged_from:
                    factor = h["swa_lr"]
                optim.set_lr(optimizer, h["lr"] * factor)
                y = torch.from_numpy(labels[rows[batch]]).to(device)
                x = augment(model.pixels(x), h["augment"], generator)
                if mixup:
                    x, y = mixup(x, y)
                x = x.to(memory_format=layout)
                soft = torch.from_numpy(teacher[batch]).to(device) if h["distill"] else None
                losses.append(take_step(x, y, soft, size))
                if average and step >= averaged_from:
                    average.update_parameters(model)
                progress.step(size, losses[-1])
                if step + 1 < end:
                    keeper.after(step + 1)
            loss = distributed.total(torch.stack(losses).mean()) / distributed.world()
            progress.epoch(epoch + 1, loss)
            losses.clear()
            keeper.after(end, epoch=True)
    if average:
        model.load_state_dict(average.module.state_dict())
    if chosen.checkpoint_activations:
        devices.checkpointing(model.visual, False)
    return model.to(memory_format=torch.contiguous_format).eval()


def weight_average(model: nn.Module, ema: float, swa: float) -> AveragedModel | None:
    """What averages the weights along training; `update_parameters` after a step takes them in.

    Args:
        ema: decay of an exponential moving average, per step; 0 is off.
        swa: more than 0: the plain average of what it is given (Izmailov et al., 2018).
    """
    if swa:
        return AveragedModel(model)
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep running statistics as they are, also in training mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
