"""The `compute` section of the configuration, as one process keeps it. Knows nothing of torch."""

from dataclasses import dataclass, fields, replace

from soups.errors import UserError


@dataclass(frozen=True)
class Compute:
    """How things are computed; `config.yaml` says what each key means."""

    device: str = "auto"
    precision: str = "float32"
    inference: str = "float32"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    checkpoint_activations: bool = False
    gpus: int = 1
    jobs_per_gpu: int = 1
    save_minutes: float = 10
    batch_size: int | None = None
    deterministic: bool = True


_now = Compute()


def configure(settings: dict) -> None:
    """Set the choice of this process.

    Args:
        settings: the `compute` section; what it leaves out is as by default.
    """
    global _now
    known = [field.name for field in fields(Compute)]
    if unknown := sorted(set(settings) - set(known)):
        raise UserError(f"compute has {unknown[0]!r}, expected among {', '.join(known)}")
    _now = replace(Compute(), **settings)


def current() -> Compute:
    """The choice of this process."""
    return _now
