"""The `compute` section of the configuration in this process. This module does not import torch."""

from dataclasses import dataclass, fields, replace

from soups.errors import UserError


@dataclass(frozen=True)
class Compute:
    """The `compute` section; config.yaml explains each key."""

    device: str = "auto"
    precision: str = "float32"
    inference: str = "float32"
    channels_last: bool | str = "auto"
    compile: bool = False
    accumulate: int = 1
    checkpoint_activations: bool = False
    gpus: int = 1
    jobs_per_gpu: int = 1
    save_minutes: float = 10
    batch_size: int | None = None
    deterministic: bool = True


_current = Compute()


def configure(settings: dict) -> None:
    """Set the `compute` section of this process.

    Args:
        settings: keys and values of the section. A missing key gets its default.

    Raises:
        UserError: if a key is unknown.
    """
    global _current
    known = [field.name for field in fields(Compute)]
    if unknown := sorted(set(settings) - set(known)):
        raise UserError(f"compute has the key {unknown[0]!r}, expected one of {', '.join(known)}")
    _current = replace(Compute(), **settings)


def current() -> Compute:
    """Return the `compute` section of this process."""
    return _current
