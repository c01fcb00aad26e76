"""End-to-end fine-tuning, the second half of LP-FT (Kumar et al., 2022)."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from soups import files
from soups.data.loading import Reader
from soups.data.prepared import PreparedSet
from soups.errors import UserError
from soups.jobs import compute, devices, distributed
from soups.jobs.progress import TrainingProgress
from soups.jobs.resume import GeneratorState, Keeper, Losses, Resumable
from soups.models.classifier import Classifier
from soups.training import divergence, optim
from soups.training.layout import layout_of
from soups.training.schedule import FEW, Schedule
from soups.training.step import Step

log = logging.getLogger("soups")


def finetune(
    model: Classifier,
    inputs,
    labels: np.ndarray,
    rows: np.ndarray,
    hyperparameters: dict,
    state: Resumable,
    teacher: np.ndarray | None = None,
    workers: int = 0,
) -> Classifier:
    """Fine-tune all weights with one configuration of the sweep.

    The optimizer is AdamW with a linear warm-up and a cosine, gradient clipping, label smoothing,
    mixup and augmentation (paper, appendix J.2). Hyperparameters switch on an average of the
    weights (`weight_average`), SAM (`optim.ascended`) and distillation
    (`soups.training.step.distillation_loss`). Batch normalisation keeps the statistics of the
    pre-trained model, so they are the same for every ingredient, unless ``batch_norm`` is
    ``trained``. The ``compute`` section of the
    configuration sets the device and the precision. If the fine-tune runs in several processes
    (`soups.jobs.distributed`), all of them call this function and get the same weights.

    Args:
        model: has the head of the linear probe, the zero-shot head or zeros; trained in place.
        inputs: the examples of the training set, n in all, see `problems.Problem.inputs`.
        labels: int64, shape (n,).
        rows: indices of the training examples, without the held-out ones.
        hyperparameters: one row of the sweep. ``epochs`` may be a fraction, or 0 for no step.
            ``warmup`` is a fraction of all steps or a number of steps. ``mixup`` is the parameter
            of the Beta distribution, and ``swa`` the share of the last steps that are averaged.
            ``sam`` is the radius ρ, and ``distill`` the weight of the teacher in the loss. A row
            may lack the hyperparameters of `hyperparameters.NEWER`.
        state: the saved state that an interrupted run resumes from. It is written at the end of
            every epoch, every `compute.save_minutes`, and before a signal of `resume.SIGNALS` ends
            the run.
        teacher: float32, shape (len(rows), classes), the teacher's logits on the training
            examples, for ``distill``.
        workers: number of processes that read and transform examples ahead of their use.

    Returns:
        the trained model, in evaluation mode.

    Raises:
        UserError: if the device or the tower does not support the ``compute`` section, if
            a batch has fewer examples than there are processes, or if one cannot be read.
        LeftOut: if the loss or the weights became NaN or infinite, see `divergence`.
        SystemExit: if a signal ended the run. Another call resumes it.
    """
    device, chosen = devices.device(), compute.current()
    lr, seed = hyperparameters["lr"], hyperparameters["seed"]
    generator = optim.seed_everything(seed)
    layout = layout_of(model)
    model.to(device, memory_format=layout).train()
    if hyperparameters.get("batch_norm", "frozen") == "frozen":
        freeze_batch_norm(model)
    if chosen.checkpoint_activations:
        devices.checkpointing(model.tower, True)
    layer_decay = hyperparameters["layer_decay"]
    decay, decayed = hyperparameters["weight_decay"], hyperparameters.get("decayed", "matrices")
    optimizer = optim.adamw(model, lr, decay, layer_decay=layer_decay, decayed=decayed)
    average = weight_average(model, hyperparameters["ema"], hyperparameters["swa"])
    alpha, classes = hyperparameters["mixup"], model.head.out_features
    mixup = None
    if alpha:
        from torchvision.transforms.v2 import MixUp  # The import takes a second.

        mixup = MixUp(alpha=alpha, num_classes=classes)
    problem = model.problem
    reader = Reader(inputs, workers, problem.transforms(hyperparameters, inputs), seed)
    take_step = Step(model, optimizer, hyperparameters)

    size = min(hyperparameters["batch_size"], len(rows))
    if size < hyperparameters["batch_size"]:
        log.warning(
            "batch_size is %d, but there are %d training %s, so a batch has %d.",
            hyperparameters["batch_size"], len(rows), problem.examples, size,
        )  # fmt: skip
    if size < distributed.world():
        raise UserError(
            f"compute.gpus is {chosen.gpus}, expected at most {size}, the {problem.examples} of "
            "one batch"
        )
    schedule = Schedule.finetuning(hyperparameters, len(rows) // size)
    if 0 < schedule.total < FEW:
        log.warning(
            "this fine-tune has %d steps, and fewer than %d may change a model little. Raise its "
            "epochs or lower its batch_size.", schedule.total, FEW,
        )  # fmt: skip
    losses = Losses()
    parts = {"model": model, "optimizer": optimizer, "noise": GeneratorState(generator)}
    parts |= {"scaler": take_step.scaler, "losses": losses}
    parts |= {"average": average} if average else {}
    done = state.restore(**parts)
    progress = TrainingProgress(done, schedule.total, examples=problem.examples)
    watch = divergence.Watch(model, lr, schedule.total, skips=take_step.scaler.is_enabled())
    with Keeper(state, chosen.save_minutes, parts) as keeper:
        for epoch, steps in schedule.epochs(done):
            batches = problem.batches(inputs, rows, size, epoch, seed)
            # The part of each batch that this process trains on.
            mine = [distributed.part(batches[step % schedule.per_epoch]) for step in steps]
            ready = reader.read((rows[batch] for batch in mine), epoch)
            with closing(ready):
                waiting = progress.waiting(ready)
                for step, batch, x in zip(steps, mine, waiting, strict=True):
                    optim.set_lr(optimizer, lr * schedule.factor(step))
                    y = devices.send(torch.from_numpy(labels[rows[batch]]), device)
                    x = problem.augmented(model, x, hyperparameters["augment"], generator)
                    if mixup:
                        x, y = mixup(x, y)
                    if x.ndim == 4:  # tokens have no channels
                        x = x.to(memory_format=layout)
                    soft = None
                    if hyperparameters["distill"]:
                        soft = devices.send(torch.from_numpy(teacher[batch]), device)
                    losses.append(take_step(x, y, soft, size))
                    if average and step >= schedule.averaged_from:
                        average.update_parameters(model)
                    progress.step(size, losses[-1])
                    watch.look(losses, step + 1, last=step == steps[-1])
                    if step != steps[-1]:
                        keeper.after(step + 1)
            loss = distributed.total(torch.stack(losses).mean()) / distributed.world()
            progress.epoch(epoch + 1, loss)
            losses.clear()
            done = steps[-1] + 1
            keeper.after(done, epoch=True, last=done == schedule.total)
    if average:
        model.load_state_dict(average.module.state_dict())
    watch.end()
    if chosen.checkpoint_activations:
        devices.checkpointing(model.tower, False)
    return model.to(memory_format=torch.contiguous_format).eval()


def finetune_on(
    model: Classifier,
    data: PreparedSet,
    rows: np.ndarray,
    hyperparameters: dict,
    state: Resumable,
    classes: Sequence[str] | None = None,
    teacher: np.ndarray | None = None,
    workers: int = 0,
) -> Classifier:
    """Fine-tune on a prepared set, on all its classes or on those of one task.

    A model of one task is trained on the images of the task's classes. Its head is frozen
    (`Classifier.only`), and it has no teacher.

    Args:
        model: a classifier of all classes; trained in place.
        data: the training set.
        rows, hyperparameters, state, teacher, workers: see `finetune`.
        classes: names of the task's classes, or None for all classes.
    """
    if not classes:
        given = data.inputs, data.labels, rows, hyperparameters, state
        return finetune(model, *given, teacher, workers)
    members = [data.classes.index(name) for name in classes]
    position = np.full(len(data.classes), -1)
    position[members] = np.arange(len(members))
    labels = position[data.labels]
    own = rows[labels[rows] >= 0]
    with model.only(members):
        finetune(model, data.inputs, labels, own, hyperparameters, state, workers=workers)
    return model


def identity(
    hyperparameters: dict,
    inputs: dict[str, str],
    images: Iterable[str | Path],
    classes: Sequence[str] | None,
    precision: dict,
    stage: int,
) -> dict:
    """Everything that the result of a fine-tune depends on, for `Resumable`.

    Args:
        hyperparameters: one row of the sweep.
        inputs: name of an input file to its sha256.
        images: files of the training images. They are too large to hash, so their stamps identify
            them.
        classes: names of the task's classes, or None for all classes.
        precision: the keys of the ``compute`` section that change the trained weights.
        stage: number of the stage, see `experiment.stages`.
    """
    made = hyperparameters | inputs | {"classes": classes, "compute": precision}
    return made | {"images": [files.stamp(path) for path in images], "stage": stage}


def weight_average(model: nn.Module, ema: float, swa: float) -> AveragedModel | None:
    """Make the average of the weights along training, or None if there is none.

    Call ``update_parameters`` after each step whose weights enter the average.

    Args:
        model: the model whose weights are averaged.
        ema: decay per step of an exponential moving average; 0 is off.
        swa: more than 0 for a plain average (stochastic weight averaging, Izmailov et al., 2018).
    """
    if swa:
        return AveragedModel(model)
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep the running statistics of batch normalisation fixed during training."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
