"""State dicts inside training files: which dictionary has the weights, and what wraps the names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from soups.errors import LeftOut
from soups.models.foreign.formats import unreadable

State = dict[str, Tensor]
PLAIN, EMA = "plain", "ema"

CURRENT = "current_model_state"  # plain weights beside averaged ones, in files of Lightning
# Keys under which training files have weights and averaged weights.
WEIGHTS = (
    "state_dict", "model", "model_state_dict", "model_state", "module", "net", "network",
    "net_state_dict", "weights", "params", CURRENT, "model_weights",
)  # fmt: skip
AVERAGES = (
    "state_dict_ema", "model_ema", "ema", "ema_state_dict", "model_ema_state_dict", "ema_model",
    "ema_state", "ema_weights", "params_ema", "net_ema", "module_ema", "averaged_model",
    "swa_state_dict", "model_swa", "swa_model", "average_model",
)  # fmt: skip
# Dictionaries under these keys may have tensors that are no weights.
BESIDE = (
    "optimizer", "optimizers", "optim", "opt", "optimizer_state_dict", "optimizer_state",
    "optimizer_states", "scheduler", "lr_scheduler", "lr_schedulers", "scheduler_state_dict",
    "scaler", "amp", "amp_scaler", "loss_scaler", "criterion", "loss", "rng", "rng_state",
    "rng_states", "callbacks", "loops", "hyper_parameters", "hparams", "args", "config", "saver",
    "averaging_state", "metrics", "history", "mixedprecisionplugin", "native_amp_scaling_state",
)  # fmt: skip
# Parts of names that wrappers add, of which each may stand before all names of a file.
PREFIXES = (
    "module", "_orig_mod", "model", "net", "network", "_forward_module", "_module", "_model",
    "ema_model", "model_ema", "averaged_model", "_fsdp_wrapped_module",
)  # fmt: skip
# These stand in the middle of names as well, and no model has such a part by itself.
WITHIN = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Tensors of a loss function that Lightning saves beside the model.
LOSS = ("criterion.", "loss.", "loss_fn.", "loss_function.")
DEEPEST = 12  # dictionaries inside each other
COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel


def find(path: Path, content: object, weights: str) -> tuple[State, str, list[str], list[str]]:
    """Find the state dict in a training file.

    Args:
        path: the file, for messages.
        content: what the file holds.
        weights: `PLAIN` or `EMA`, the weights to take where the file has both.

    Returns:
        the state dict without wrappers; its kind; all kinds that the file has; what was removed,
        from the outside to the inside.

    Raises:
        LeftOut: if there is no state dict, or if several could be meant.
    """
    if isinstance(content, Tensor):
        raise unreadable(path, "holds a single tensor, expected a dictionary of tensors by name")
    if not isinstance(content, Mapping):
        raise unreadable(
            path, f"holds {_called(content)}, expected a dictionary of tensors by name"
        )
    found = dict(_state_dicts(content, ()))
    kinds: dict[str, dict[tuple, State]] = {}
    for keys, state in found.items():
        # Lightning's weight averaging moves the plain weights to another key.
        averaged = keys == ("state_dict",) and CURRENT in content
        parts = {EMA: ((), state)} if averaged else _split(keys, state)
        for kind, (more, part) in parts.items():
            kinds.setdefault(kind, {})[(*keys, *more)] = part
    if not kinds:
        raise _nothing(path, content)
    if weights == EMA and EMA not in kinds:
        raise unreadable(
            path,
            "has no averaged weights, which model.weights 'ema' asks for, expected one of the keys "
            f"{', '.join(AVERAGES[:3])}",
        )
    kind = weights if weights in kinds else next(iter(kinds))
    keys, state = _one(path, kinds[kind])
    state, removed = unwrap(state)
    return state, kind, [each for each in (PLAIN, EMA) if each in kinds], [*keys, *removed]


def _called(content: object) -> str:
    name = type(content).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _state_dicts(
    content: Mapping, keys: tuple, seen: frozenset[int] = frozenset()
) -> Iterable[tuple[tuple, State]]:
    """Every dictionary of tensors inside a dictionary, by the keys that lead to it."""
    # A pickle may hold a dictionary inside itself.
    if {"state", "param_groups"} <= set(content) or id(content) in seen or len(keys) > DEEPEST:
        return  # the first is the state of an optimizer
    seen |= {id(content)}
    tensors = {
        name: value
        for name, value in dict.items(content)
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if any("." in name for name in tensors):
        yield keys, tensors
        return
    inside = False
    for key, value in dict.items(content):
        if isinstance(value, Mapping) and str(key).lower() not in BESIDE:
            for each in _state_dicts(value, (*keys, str(key)), seen):
                inside = True
                yield each
    # A tensor beside a state dict, such as the best accuracy so far, is no weight.
    if tensors and not inside:
        yield keys, tensors


def _kind(keys: Iterable[str]) -> str:
    return EMA if any(key.lower() in AVERAGES for key in keys) else PLAIN


def _split(keys: tuple, state: State) -> dict[str, tuple[tuple, State]]:
    """The kinds of weights in one dictionary; a module may hold its own average beside the model.

    Returns:
        kind to the prefix of names and the tensors without it.
    """
    firsts: dict[str, State] = {}
    for name, tensor in state.items():
        first, _, rest = name.partition(".")
        firsts.setdefault(first, {})[rest] = tensor
    averaged = [first for first in firsts if first in AVERAGES and "" not in firsts[first]]
    for first in averaged:
        own = firsts[first]
        own = {n.removeprefix("module."): t for n, t in own.items() if n != COUNTER}
        for other in firsts:
            if other not in averaged and set(own) == set(firsts[other]):
                return {PLAIN: ((f"{other}.",), firsts[other]), EMA: ((f"{first}.",), own)}
    kind = _kind(keys)
    if COUNTER in state or len(averaged) == len(firsts):
        kind = EMA
    return {kind: ((), state)}


def _one(path: Path, states: dict[tuple, State]) -> tuple[tuple, State]:
    """The only state dict of a kind, or the one under the best known key."""
    known = {
        keys: state
        for keys, state in states.items()
        if all(key.lower() in WEIGHTS + AVERAGES or key.endswith(".") for key in keys)
    }
    states = known or states
    if len(states) > 1:
        names = ", ".join(repr(".".join(keys)) for keys in states)
        raise unreadable(
            path,
            f"holds several sets of weights ({names}), expected one under the key 'state_dict'",
        )
    return next(iter(states.items()))


def unwrap(state: State) -> tuple[State, list[str]]:
    """Remove what wrappers add to the names, in any nesting.

    A prefix is removed only if all names have it.

    Returns:
        the tensors by their own names, and the removed parts.
    """
    state, removed = dict(state), []
    loss = [name for name in state if name.startswith(LOSS)]
    if loss and len(loss) < len(state):
        removed += [f"{part}." for part in dict.fromkeys(name.split(".")[0] for name in loss)]
        state = {name: tensor for name, tensor in state.items() if name not in loss}
    while True:
        others = [name for name in state if name != COUNTER]
        if COUNTER in state and others and all(n.startswith("module.") for n in others):
            del state[COUNTER]
            removed.append(COUNTER)
            continue
        part = next(
            (part for part in PREFIXES if state and all(n.startswith(f"{part}.") for n in state)),
            None,
        )
        if part is None:
            break
        removed.append(f"{part}.")
        state = {name[len(part) + 1 :]: tensor for name, tensor in state.items()}
    for part in WITHIN:
        names = {name: ".".join(p for p in name.split(".") if p != part) for name in state}
        if any(old != new for old, new in names.items()) and len(set(names.values())) == len(names):
            state = {names[name]: tensor for name, tensor in state.items()}
            removed.append(f"{part}.")
    return state, removed


def _nothing(path: Path, content: Mapping) -> LeftOut:
    """The error for a dictionary without weights, which names what it has."""
    keys = [str(key) for key in content]
    if {"state", "param_groups"} <= set(keys) or any(
        key.lower() in BESIDE[:9] for key in keys if isinstance(content.get(key), Mapping)
    ):
        return unreadable(
            path,
            "holds the state of an optimizer but no weights, expected the file of the model, which "
            "is often beside it",
        )
    if not keys:
        return unreadable(path, "holds an empty dictionary, expected tensors by name")
    shown = ", ".join(repr(key) for key in keys[:5]) + (", ..." if len(keys) > 5 else "")
    return unreadable(
        path, f"holds a dictionary without tensors ({shown}), expected tensors by name"
    )


def check(path: Path, state: State) -> None:
    """Check that tensors are plain numbers of a whole model.

    Raises:
        LeftOut: if tensors are quantised, sparse or without values, or if they are an adapter's.
    """
    adapter = next((n for n in state if "lora_" in n.lower() or ".adapter" in n.lower()), None)
    if adapter is not None:
        raise unreadable(
            path,
            f"has the adapter tensor {adapter!r} (LoRA), expected the weights of a whole model "
            "(merge the adapter with `model.merge_and_unload()`, and save that model)",
        )
    for name, tensor in state.items():
        odd = next((word for word, holds in ODD.items() if holds(name, tensor)), None)
        if odd:
            raise unreadable(path, f"has the {odd} tensor {name!r}, expected plain dense numbers")


QUANTISED = (".qweight", ".qzeros", ".absmax", ".quant_map", ".SCB", "_packed_params", "bnb__4bit",
             "bnb__nf4", "bnb__fp4", ".weight_scale", ".zero_point")  # fmt: skip
ODD = {
    "distributed or customised": lambda name, tensor: type(tensor) not in (Tensor, nn.Parameter),
    "quantised": lambda name, tensor: (
        tensor.is_quantized
        or any(part in name for part in QUANTISED)
        or str(tensor.dtype).startswith("torch.float8")
    ),
    "nested": lambda name, tensor: tensor.is_nested,
    "sparse": lambda name, tensor: str(tensor.layout) != "torch.strided",
    "valueless (meta)": lambda name, tensor: tensor.is_meta,
    "complex": lambda name, tensor: tensor.is_complex(),
}
