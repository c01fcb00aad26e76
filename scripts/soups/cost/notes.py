"""The sentences below the table of the estimate: how it was measured, and what it leaves out."""

from collections.abc import Sequence

from soups import problems
from soups.cost import estimate
from soups.cost.measurement import Measured, most_frequent
from soups.jobs import compute

NOT_INCLUDED = (
    "Downloads, tables, figures and the saving of training states are not included. The saved "
    "state of a running fine-tune takes as much disk space as three checkpoints."
)


def notes(params, measured: Measured, more: Sequence[str] = ()) -> list[str]:
    """The sentences, one or two per line.

    Args:
        params: see `experiment.estimated.estimated`.
        measured: speeds of this machine.
        more: sentences about the examples, see `data.samples.SampleSet`.
    """
    lines = [
        f"This estimate comes from measurements of a few seconds on {measured.device}. Data "
        "loading may add to these times."
    ]
    if measured.trained:
        lines += _of_training(params, measured)
    lines.append("Greedy rules are counted as if they took every model.")
    lines += more
    if params.corpus and measured.trained:
        lines.append("Pre-training is counted at the speed of fine-tuning, without a text tower.")
    return [*lines, NOT_INCLUDED]


def _of_training(params, measured: Measured) -> list[str]:
    chosen, kind = compute.current(), most_frequent(params.plan["rows"])
    batch = kind[0]
    parts = f" in {chosen.accumulate} parts" if chosen.accumulate > 1 else ""
    line = (
        f"Training was measured in {chosen.precision} with batches of {batch}{parts} and used "
        f"{estimate.size(measured.memory)} of memory at most."
    )
    if chosen.gpus > 1:
        line += f" {chosen.gpus} GPUs are assumed to be {chosen.gpus} times as fast as one."
    lines, examples = [line], problems.of_source(params.data["source"]).examples
    if measured.batch < -(-batch // chosen.gpus):
        lines.append(
            f"Batches of {batch} {examples} take too long on this machine. The speed was measured "
            f"with {measured.batch} {examples} at a time, so training will use more memory."
        )
    slowest = max(measured.load.values(), default=0)
    workers, step = measured.workers, measured.trained[kind]
    if slowest / max(workers, 1) > step:
        enough = estimate.workers_needed(step, slowest)
        loaded = f"{estimate.rounded(max(workers, 1) / slowest):,} {examples}/s"
        threads = chosen.gpus * (enough + 1)
        lines.append(
            f"Data loading is the bottleneck: {_loads(workers)} {loaded}, and training processes "
            f"{estimate.rounded(1 / step):,} {examples}/s. Loading is as fast as training with "
            f"--set-threads finetune={threads} estimate_cost={threads}."
        )
    return lines


def _loads(workers: int) -> str:
    if not workers:
        return "a job without workers loads"
    return "1 worker loads" if workers == 1 else f"{workers} workers load"
