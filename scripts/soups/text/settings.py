"""The section ``data.text``: its defaults, its presets, and the checks before any job.

This module runs while Snakemake parses the workflow. The checks read the first line of each file.
"""

from collections.abc import Mapping

from soups.errors import UserError
from soups.text import presets

# Shifts of a data set that has none of its own and for which the user names none.
DEFAULT_SHIFTS = {
    name: {"perturbation": name, "severity": 2} for name in ("typos", "casing", "dropped_words")
}
_COLUMNS = {"text": "text", "second": None, "label": "label"}
_SHARED = ("columns", "header", "quotes")  # keys of the section that a set may override


def settings_of(data: Mapping) -> dict:
    """Fill in the preset and the defaults of the section ``data.text``.

    Args:
        data: the section ``data``.

    Returns:
        the keys root, train, test, shifts, classes, max_length, limit, seed and metric. A set has
        either ``files``, or ``hub``, ``subset`` and ``split``, and the keys columns, header and
        quotes. A derived shift has ``perturbation`` and ``severity``. ``classes`` maps values in
        the files to names of classes in the order of their labels, or is None.

    Raises:
        UserError: if there is no training or test set, or if the preset is unknown.
    """
    given = {key: value for key, value in (data["text"] or {}).items() if value is not None}
    named = given.get("preset")
    root = given.get("root", presets.ROOT if named else ".")
    preset = presets.section(named, root) if named else {}
    both = preset | given
    how = {
        "columns": _COLUMNS | preset.get("columns", {}) | given.get("columns", {}),
        "header": both.get("header", True),
        "quotes": both.get("quotes"),
    }
    for name in ("train", "test"):
        if name not in both:
            raise UserError(
                f"data.text.{name} is missing, expected a file of texts, or data.text.preset with "
                f"one of {', '.join(presets.PRESETS)}"
            )
    shifts = _shifts(preset.get("shifts", {}), given.get("shifts", {}))
    return {
        "root": root,
        "train": _complete("train", both["train"], how),
        "test": _complete("test", both["test"], how),
        "shifts": {name: _complete(name, spec, how) for name, spec in shifts.items()},
        "classes": _by_value(both.get("classes")),
        "max_length": given.get("max_length"),
        "limit": given.get("limit", {}),
        "seed": given.get("seed", 0),
        "metric": preset.get("metric", "accuracy"),
    }


def sets(settings: Mapping) -> dict[str, dict]:
    """Return set name to the origin of its texts: files, a set of the hub, or a perturbation."""
    return {"train": settings["train"], "test": settings["test"]} | settings["shifts"]


def columns_of(spec: Mapping) -> list:
    """The columns of a set that are read: text, second if there is one, and label."""
    columns = spec["columns"]
    return [columns[key] for key in ("text", "second", "label") if columns[key] is not None]


def shifts(data: Mapping) -> list[str]:
    """Names of the shifts, those of the preset first, without those set to null."""
    return list(settings_of(data)["shifts"])


def offered_shifts(data: Mapping) -> list[str]:
    """Names of the shifts that a preset may have, and of those without any other shift."""
    preset = presets.PRESETS.get((data["text"] or {}).get("preset"))
    return [*(preset.shifts if preset else []), *DEFAULT_SHIFTS]


def metric(data: Mapping) -> str:
    """The metric of the preset, or else accuracy."""
    return settings_of(data)["metric"]


def check(config: dict) -> list[str]:
    """Check the sections ``data`` and ``model``, and return the names of the classes.

    Raises:
        UserError: one sentence with the key, its value and what was expected.
    """
    from soups.text import checks

    return checks.check(config)


def _shifts(own: Mapping, given: Mapping) -> dict:
    """Merge the shifts of a preset with those of the user, of which null switches one off."""
    if not own and not any(given.values()):
        own = DEFAULT_SHIFTS
    return {name: spec for name, spec in {**own, **given}.items() if spec is not None}


def _complete(name: str, spec: str | list | dict, how: Mapping) -> dict:
    """Fill in the optional keys of a set."""
    if not isinstance(spec, dict):
        spec = {"files": spec}
    if "perturbation" in spec:
        return dict(spec)
    made = {key: value for key, value in spec.items() if key not in _SHARED}
    if "files" in made:
        made["files"] = [made["files"]] if isinstance(made["files"], str) else list(made["files"])
    if "hub" in made:
        made |= {"subset": made.get("subset"), "split": made.get("split", name)}
    own = {key: spec[key] for key in ("header", "quotes") if spec.get(key) is not None}
    return made | how | own | {"columns": how["columns"] | spec.get("columns", {})}


def _by_value(classes: list | dict | None) -> dict[str, str] | None:
    """Return value in a file to name of its class. A list of names allows their numbers too."""
    if classes is None or isinstance(classes, dict):
        return classes
    made = {name: name for name in classes}
    # A number would be ambiguous if a class has a number for a name.
    if not any(name.strip("-").isdigit() for name in classes):
        made |= {str(i): name for i, name in enumerate(classes)}
    return made
