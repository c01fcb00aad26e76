"""What a run of ready-made models cannot make, and the settings that follow from this.

Ready-made models have no variants, because nothing is trained, and their start (θ₀) may be unknown.
Parts of the default configuration that need either are switched off, and one sentence names them.
The same part in an overlay of the user is an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from soups.errors import UserError
from soups.experiment.assignment import sources
from soups.experiment.registry import SOUP_METHODS
from soups.experiment.schema import read_yaml
from soups.roles import BASE

# Optional keys of `ingredients.checkpoints`, with their defaults.
DEFAULTS = {
    "files": None,
    "folder": None,
    "file": None,
    "url": None,
    "sums": None,
    "classes": None,
    "dtype": "float32",
    "initialization": None,
}
SECTION = "ingredients.checkpoints"
_NEEDS_START = f"{SECTION}.initialization is null"
_UNSET = object()


def complete(settings: Mapping | None) -> dict:
    """Fill in the optional keys of ``ingredients.checkpoints``."""
    return DEFAULTS | dict(settings or {})


def refuse_layout(config: Mapping) -> None:
    """Refuse the key ``layout``, which configurations of earlier versions have.

    Raises:
        UserError: if the key is there.
    """
    given = config.get("ingredients")
    section = given.get("checkpoints") if isinstance(given, dict) else None
    if isinstance(section, dict) and "layout" in section:
        raise UserError(
            f"config key {SECTION}.layout is {section['layout']!r}, expected no such key because "
            "the layout of a file is recognised by itself now"
        )


def check(config: Mapping) -> None:
    """Check the section ``ingredients.checkpoints`` and that the sweep fits it.

    Raises:
        UserError: for a missing key or file, or for keys that exclude each other.
    """
    given, kind = config["ingredients"]["checkpoints"], config["sweep"]["kind"]
    if not given or not (given["files"] or given["folder"]):
        raise UserError(
            "ingredients.source is 'checkpoints' but ingredients.checkpoints has no files, "
            "expected settings as in experiments/checkpoints.yaml"
        )
    if given["files"]:
        for key in ("folder", "file", "url"):
            if given[key]:
                raise UserError(
                    f"{SECTION} has files and {key} ({given[key]!r}), expected only one of them"
                )
        if kind != "files":
            raise UserError(
                f"sweep.kind is {kind!r}, expected 'files' because {SECTION}.files names the models"
            )
    elif kind == "files":
        raise UserError(f"sweep.kind is 'files' but {SECTION}.files is null, expected files")
    elif not given["file"]:
        raise UserError(
            f"{SECTION}.folder is {given['folder']!r} but {SECTION}.file is null, expected the "
            "name of a file with {model} in it"
        )
    if given["classes"] and not Path(given["classes"]).is_file():
        raise UserError(
            f"{SECTION}.classes is {given['classes']!r}, expected an existing file of class names"
        )


class Asked:
    """Which settings are the user's own, and not those of the default configuration.

    Args:
        config: the merged configuration.
        default: file of the default configuration.
        configfiles: all configuration files that were merged.
        only: section to the names in its ``only``.
    """

    def __init__(
        self,
        config: Mapping,
        default: str | Path,
        configfiles: Iterable[str | Path],
        only: Mapping[str, Sequence[str] | None],
    ) -> None:
        self._config, self._only = config, only
        self._default = read_yaml(default) if Path(default).is_file() else {}
        self._overlays = [
            read_yaml(path) for path in configfiles if not _same(Path(path), Path(default))
        ]

    def __call__(self, *path: str) -> bool:
        """Whether an overlay or the command line gives this key a value."""
        if path[-1] in (self._only.get(".".join(path[:-1])) or []):
            return True
        value = _at(self._config, path)
        if value != _at(self._default, path):
            return True
        return any(_at(overlay, path) not in (_UNSET, None) for overlay in self._overlays)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _at(config, path: Sequence[str]):
    for key in path:
        if not isinstance(config, dict) or key not in config:
            return _UNSET
        config = config[key]
    return config


def adapt(config: dict, asked: Asked) -> list[str]:
    """Switch off what a run of ready-made models cannot make.

    Args:
        config: the merged configuration with ready-made models. It is changed in place.
        asked: tells the user's own settings from the default ones.

    Returns:
        one sentence that names what is switched off, or nothing.

    Raises:
        UserError: if the user's own settings ask for such a part.
    """
    model, data = config["model"], config["data"]
    if asked("model", "architecture") and not asked("model", "pretrained"):
        model["pretrained"] = None  # weights come from the checkpoints
    if data["source"] == "folders" and data["folders"] and model["pretrained"] != "train":
        # Only the held-out images are read, because nothing is trained.
        data["folders"].setdefault("training_images", "folder")
    _without_variants(config["sweep"]["variants"], asked)
    no_start = not config["ingredients"]["checkpoints"]["initialization"]
    soups = _without_start(config["soups"], asked) if no_start else []
    ensembles = _of_switched_off(config, soups, asked)
    curves = _curves(config["curves"], asked, no_start)
    parts = [(f"the {'soups' if len(soups) > 1 else 'soup'} ", soups)]
    parts += [(f"the {'ensembles' if len(ensembles) > 1 else 'ensemble'} ", ensembles)]
    # The names of keys, because figures of curves have several names.
    parts += [("the figures of ", [f"curves.{name}" for name in curves])]
    named = [f"{words}{listed(names)}" for words, names in parts if names]
    if not named:
        return []
    why = "Ready-made models have no variants"
    if no_start:
        why += f" and their start is unknown ({_NEEDS_START})"
    return [f"{why}, so this run leaves out {listed(named)}."]


def listed(names: Sequence[str]) -> str:
    """Names in words: a, b and c."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def _without_variants(variants: dict, asked: Asked) -> None:
    for name, spec in variants.items():
        if spec is None:
            continue
        if asked("sweep", "variants", name):
            raise UserError(
                f"sweep.variants.{name} is {spec}, expected null because ingredients.source is "
                "'checkpoints' and ready-made models are not trained again"
            )
        variants[name] = None


def _without_start(soups: dict, asked: Asked) -> list[str]:
    """Switch off soups that need a start, and return their names."""
    off: list[str] = []
    while True:
        more = [
            (name, _why(spec, off))
            for name, spec in soups.items()
            if spec is not None and _why(spec, off)
        ]
        if not more:
            return off
        for name, why in more:
            if asked("soups", name):
                raise UserError(
                    f"soups.{name} {why}, which needs the start of fine-tuning, but "
                    f"{_NEEDS_START}, expected a file there, or soups.{name}: null"
                )
            soups[name] = None
            off.append(name)


def _why(spec: Mapping, off: Sequence[str]) -> str:
    """The reason why a soup needs a start, or "" if it does not."""
    if SOUP_METHODS[spec["method"]].needs_start:
        return f"has the method {spec['method']!r}"
    return next((f"is made from {name!r}" for name in sources(spec) if name in off), "")


def _of_switched_off(config: dict, soups: Sequence[str], asked: Asked) -> list[str]:
    """Switch off ensembles of soups that are switched off, and return their names."""
    out = []
    for name, spec in config["ensembles"].items():
        source = next((of for of in sources(spec or {}) if of in soups), None)
        if source is None:
            continue
        if asked("ensembles", name):
            raise UserError(
                f"ensembles.{name}.of is {source!r}, which needs the start of fine-tuning, but "
                f"{_NEEDS_START}, expected a file there, or ensembles.{name}: null"
            )
        config["ensembles"][name] = None
        out.append(name)
    return out


def _curves(curves: dict, asked: Asked, no_start: bool) -> list[str]:
    """Switch off curves that need variants or a start, and return their names."""
    out = []
    for curve, key in (("paths", "variants"), ("landscape", "variants"), ("tasks", "variants")):
        names = [name for name in curves[curve][key] if name != BASE]
        if names and asked("curves", curve, key):
            raise UserError(
                f"curves.{curve}.{key} has {names[0]!r}, expected no variant because "
                "ingredients.source is 'checkpoints' and ready-made models have none"
            )
        if names:
            out.append(curve)
            curves[curve][key] = [name for name in curves[curve][key] if name == BASE]
    if not no_start:
        return out
    for path, empty in (
        (("wise_ft", "of"), []),
        (("pairs",), 0),
        (("paths", "variants"), []),
        (("landscape", "variants"), []),
    ):
        section = curves if len(path) == 1 else curves[path[0]]
        if not section[path[-1]]:
            continue
        key = ".".join(("curves", *path))
        if asked("curves", *path):
            raise UserError(
                f"{key} is {section[path[-1]]}, which needs the start of fine-tuning, but "
                f"{_NEEDS_START}, expected a file there, or {key}: {empty}"
            )
        section[path[-1]] = empty
        out += [] if path[0] in out else [path[0]]
    return out
