"""Sources of pre-trained weights: tags of a library, or files and folders made elsewhere."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from open_clip import get_model_config, get_pretrained_cfg
from torch import Tensor, nn

from soups.errors import LeftOut, UserError, brief
from soups.models.file_names import COMPUTED
from soups.models.foreign import reading

log = logging.getLogger("soups")

PATIENCE = 10  # seconds to wait for a server before the cache alone is used
SHOWN = 3  # names of tensors in one message


def check_tag(tag: str, known: Sequence[str], architecture: str) -> None:
    """Check that an architecture has weights with this tag.

    Raises:
        UserError: naming the tags that it has.
    """
    if tag not in known:
        raise UserError(
            f"model.pretrained is {tag!r}, expected 'train', a file of weights or a tag of "
            f"{architecture} ({', '.join(known) or 'which has none'})"
        )


def check_activation(architecture: str, tag: str) -> None:
    """Check that the architecture has the activation that the weights were trained with.

    The weights load into a tower with the other activation without an error, but then the
    features are wrong.

    Raises:
        UserError: if the activations differ.
    """
    wants = get_pretrained_cfg(architecture, tag).get("quick_gelu", False)
    if wants and not get_model_config(architecture).get("quick_gelu", False):
        raise UserError(
            f"model.architecture is {architecture!r}, but the weights {tag!r} were trained with "
            f"quick GELU, expected '{architecture}-quickgelu'"
        )


def contents(path: str, weights: str) -> reading.Contents:
    """Read the weights of a file or folder, and log which of them were taken.

    Args:
        path: see `reading.read`.
        weights: "plain" or "ema".

    Raises:
        UserError: if the weights cannot be read.
    """
    try:
        found = reading.read(path, weights)
    except LeftOut as error:
        raise UserError(f"model.pretrained: {error}") from error
    log.info("read the %s weights of %s", found.kind, path)
    if found.wrappers:
        log.info("removed what was around them: %s", ", ".join(found.wrappers))
    return found


def fill(module: nn.Module, state: Mapping[str, Tensor], path: str) -> None:
    """Load weights strictly into a module, apart from buffers that the architecture gives.

    Args:
        module: any module.
        state: tensors by name, of any floating dtype.
        path: the file of the tensors, for messages.

    Raises:
        UserError: naming tensors that are missing, unknown or of another shape.
    """
    want = module.state_dict()
    # Files of old versions of torch lack the counters of batch normalisation.
    missing = [n for n in want if n not in state and not n.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in want]
    unknown = [name for name in unknown if name.split(".")[-1] not in COMPUTED]
    if missing or unknown:
        parts = [f"lacks {_some(missing)}"] if missing else []
        parts += [f"has {_some(unknown)} in addition"] if unknown else []
        raise UserError(
            f"model.pretrained is {path!r}, which {' and '.join(parts)}, expected the tensors of "
            "model.architecture"
        )
    state = {name: state.get(name, tensor) for name, tensor in want.items()}
    for name, tensor in want.items():
        if state[name].shape != tensor.shape:
            raise UserError(
                f"model.pretrained is {path!r}, where {name!r} has shape "
                f"{tuple(state[name].shape)}, expected {tuple(tensor.shape)} as in "
                "model.architecture"
            )
    module.load_state_dict(state)


def _some(names: list[str]) -> str:
    """The first names of tensors, and the number of the others."""
    more = f" and {len(names) - SHOWN} more tensors" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more


def fits(module: nn.Module, names: Iterable[str]) -> bool:
    """Whether names of tensors are exactly those of a module."""
    return module.state_dict().keys() == set(names)


def fill_clip(clip: nn.Module, state: dict[str, Tensor], path: str) -> None:
    """Load weights strictly into a model of open_clip, whose text tower must be among them.

    Raises:
        UserError: see `fill`.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    want = clip.state_dict()
    state = {name: v for name, v in state.items() if name in want or name not in COMPUTED}
    if not fits(clip, state):
        state = convert_state_dict(clip, state)  # of other projects, such as MobileCLIP
        if "positional_embedding" in state and "positional_embedding" not in want:
            state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # a number or a vector of length 1
        if name in state and name in want and state[name].numel() == 1:
            state[name] = state[name].reshape(want[name].shape)
    fill(clip, state, path)


@contextmanager
def fetching(source: str | None, server: str = constants.ENDPOINT) -> Iterator[None]:
    """Turn the libraries' errors about downloads into a `UserError` of one sentence.

    If the server cannot be reached, the caches alone are used, without repeated attempts.

    Args:
        source: a tag or an address of weights, or None where nothing is downloaded.
        server: where the weights are.
    """
    # open_clip warns about random weights, which are intended where there is no source, and logs
    # errors that it raises as well.
    logging.getLogger().setLevel(logging.CRITICAL)
    before = constants.HF_HUB_OFFLINE
    if source and not before and not reachable(server):
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if source is None or isinstance(error, UserError):
            raise
        if constants.HF_HUB_OFFLINE:
            why = "they are not in the cache on this machine"
            why += "" if before else f" and {server} cannot be reached"
        else:
            why = f"{type(error).__name__}: {brief(error)}"
        raise UserError(
            f"model.pretrained is {source!r}, whose weights could not be loaded ({why}), expected "
            "a network connection, weights in the cache, or a file that fits model.architecture"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before
        logging.getLogger().setLevel(logging.WARNING)


def reachable(url: str) -> bool:
    """Whether a server answers within `PATIENCE` seconds, through a proxy where one is set."""
    try:
        get_session().head(url, timeout=PATIENCE)
    except httpx2.TransportError:
        return False
    return True
