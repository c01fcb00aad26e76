"""The provenance of a soup, as its header tells it, and a test that its ingredients give it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from soups import files, problems
from soups.errors import UserError
from soups.jobs.runs import PLAN
from soups.mixing.mix import mix
from soups.models.checkpoints import DTYPES, Checkpoint

SHOWN = 5  # tensors that one sentence names at most
# Statistics of batch normalisation, which a soup may have measured again on held-out images.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def soup_at(path: str | Path) -> Checkpoint:
    """Open a soup.

    Raises:
        UserError: if the file is not a safetensors file, or has no recipe in its header.
    """
    soup = Checkpoint(path)
    recipe, ingredients = soup.note.get("recipe"), soup.note.get("ingredients")
    complete = (
        isinstance(recipe, dict)
        and "method" in recipe
        and isinstance(recipe.get("coefficients"), dict)
        and isinstance(ingredients, dict)
        and all(isinstance(digest, str) for digest in ingredients.values())
    )
    if not complete:
        raise UserError(f"{path} has no recipe in its header, expected a soup of this workflow")
    return soup


def provenance(note: Mapping) -> list[tuple[str, str]]:
    """Label and text of every fact in a soup's header, in the order for readers.

    Args:
        note: of the soup. Soups of older versions lack some facts, which are left out.
    """
    recipe, card, code = note["recipe"], note.get("model"), note.get("code")
    facts = [("method", recipe["method"])]
    if "merge" in recipe:
        facts.append(("merge", json.dumps(recipe["merge"])))
    for name, digest in note["ingredients"].items():
        facts.append((f"ingredient {name}", f"{_coefficient(recipe, name)}, sha256 {digest}"))
    facts.append(("pre-trained model", f"sha256 {note.get('pretrained')}"))
    if card:
        facts.append(("architecture", json.dumps(card["architecture"])))
        facts += problems.of_note(card).facts(card)
        facts.append((f"{len(card['classes'])} classes", ", ".join(card["classes"])))
    if code:
        commit = code["commit"] or "unknown commit"
        facts.append(("code", f"version {code['version']}, {commit}"))
    for name, section in note.get("configuration", {}).items():
        facts.append((f"configuration, {name}", json.dumps(section)))
    return facts


def _coefficient(recipe: Mapping, name: str) -> str:
    weight = recipe["coefficients"].get(name, 0)
    if not isinstance(weight, Mapping):
        return f"coefficient {weight:.6g}"
    low, high = min(weight.values()), max(weight.values())
    return f"coefficients {low:.6g} to {high:.6g} of {len(weight)} tensors"


def find(soup: Checkpoint, root: str | Path | None = None) -> tuple[dict[str, Path], list[str]]:
    """Find the ingredients of a soup by their hashes.

    The search begins with the files that have an ingredient's name in the soup's own results
    folder, and in the experiment that it shares. Only then are all other files hashed.

    Args:
        soup: see `soup_at`.
        root: a folder to search at any depth, instead of the results folder; None for the latter.

    Returns:
        the files found, by ingredient, and a sentence for each ingredient that was not found.
    """
    places = [Path(root)] if root is not None else _results(soup.path)
    if root is not None and not places[0].is_dir():
        raise UserError(f"{root}: no such folder, expected the folder of the ingredients")
    found: dict[str, Path] = {}
    named: dict[str, Path] = {}
    wanted = dict(soup.note["ingredients"])
    everything = sorted({path for place in places for path in place.rglob("*.safetensors")})
    for path in everything:
        if wanted.get(path.stem) and path.stem not in found:
            if files.sha256(path) == wanted[path.stem]:
                found[path.stem] = path
            else:
                named[path.stem] = path
    missing: dict[str, list[str]] = {}  # copies of one model have the same hash
    for name, digest in wanted.items():
        if name not in found:
            missing.setdefault(digest, []).append(name)
    # An ingredient may have been renamed. No file is smaller than its tensors.
    for path in everything:
        hashed_before = path in found.values() or path in named.values()
        if not missing or hashed_before or path.stat().st_size < soup.size():
            continue
        if (digest := files.sha256(path)) in missing:
            found |= dict.fromkeys(missing.pop(digest), path)
    where = " and ".join(map(str, places))
    sentences = [
        f"{named[name]} has changed: its sha256 is not {digest[:12]}… as in the soup's header."
        if name in named
        else f"Ingredient {name} (sha256 {digest[:12]}…) is missing in {where}."
        for digest, names in missing.items()
        for name in names
    ]
    return found, sentences


def _results(path: Path) -> list[Path]:
    """Folders with the models of a soup's experiment, or the soup's own folder outside of one."""
    home = path.absolute().parent.parent
    models = [home / "models"]
    if (home / PLAN).is_file() and (shared := files.read_json(home / PLAN).get("shared")):
        models.append(home.parent / shared / "models")
    there = [folder for folder in models if folder.is_dir()]
    return there or [path.absolute().parent]


def differences(soup: Checkpoint, paths: Mapping[str, Path]) -> list[str]:
    """Mix a soup again, and compare every tensor to the byte.

    Args:
        soup: see `soup_at`.
        paths: all of its ingredients, see `find`.

    Returns:
        a sentence for each kind of difference; none if the soups are the same.
    """
    recipe = soup.note["recipe"]
    # The order of a sum changes its last bits. Older soups do not tell it.
    order = soup.note.get("order", recipe["coefficients"])
    inside = [name for name in order if name in recipe["coefficients"]]
    recipe = recipe | {"coefficients": {name: recipe["coefficients"][name] for name in inside}}
    start = soup.note.get("configuration", {}).get("soup", {}).get("start")
    if start not in paths:
        if recipe.get("merge", {}).get("rule") == "ties":
            return ["The header of this old soup does not name its start, so it was not mixed."]
        start = None
    try:
        again = mix(recipe, paths, start)
    except UserError as error:
        return [f"The ingredients cannot be mixed: {error}."]
    return compared(soup, again)


def compared(soup: Checkpoint, again: Mapping[str, Tensor]) -> list[str]:
    """Return a sentence for each kind of difference between a soup and a state dict."""
    shapes, sentences = soup.shapes(), []
    for names, text in (
        (sorted(shapes.keys() - again.keys()), "only in the file"),
        (sorted(again.keys() - shapes.keys()), "only in the soup mixed again"),
    ):
        if names:
            sentences.append(f"{_some(names)} {_is(names)} {text}.")
    other = [
        name for name, tensor in soup.items() if name in again and differs(tensor, again[name])
    ]
    measured = [name for name in other if name.endswith(STATISTICS)] if recalibrated(soup) else []
    if other := [name for name in other if name not in measured]:
        sentences.append(
            f"{_some(other)} {_is(other)} different in the soup mixed again "
            f"({len(other)} of {len(shapes)} tensors)."
        )
        if "order" not in soup.note:
            sentences.append(
                "An older version mixed this soup and did not note the order of its ingredients, "
                "which may change the last bits."
            )
    return sentences


def recalibrated(soup: Checkpoint) -> bool:
    """Whether the soup's batch statistics were measured on held-out images.

    They cannot be mixed again from the ingredients.
    """
    statistics = any(name.endswith(STATISTICS) for name in soup.shapes())
    made = soup.note.get("configuration", {})
    usual = made.get("model", {}).get("recalibrate_batch_norm")
    return statistics and bool(made.get("soup", {}).get("recalibrate", usual))


def differs(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors differ in dtype, shape or any byte. NaN equals itself here."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return True
    pair = (tensor.contiguous().flatten().view(torch.uint8) for tensor in (one, other))
    return one.numel() > 0 and not torch.equal(*pair)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def summary(soup: Checkpoint) -> str:
    """A sentence with the size, the number of tensors and the hash of a soup's file."""
    dtypes = sorted(
        {str(DTYPES[dtype]).removeprefix("torch.") for _, dtype in soup.shapes().values()}
    )
    return f"{len(soup.shapes())} tensors of {', '.join(dtypes)}, sha256 {files.sha256(soup.path)}"
