"""Order of classes: which rows of a checkpoint's head belong to the classes of the data.

Class names are compared exactly first. If that is not enough, they are compared without regard to
Unicode form, case, ``_`` and spaces, as long as only one name fits.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from soups.errors import LeftOut, UserError, near
from soups.models.foreign.naming import listed

SHOWN = 3  # class names that one message lists at most


def from_file(path: str | Path) -> list[str]:
    """Read the file of ``ingredients.checkpoints.classes``.

    Args:
        path: one class name per line, or JSON: a list of names, {index: name} or {name: index}.

    Returns:
        class names in the order of the head's rows.

    Raises:
        UserError: if the file has another format, or a name twice.
    """
    text = _text(Path(path))
    if text.lstrip()[:1] in ("[", "{"):
        try:
            names = listed(json.loads(text), str(path))
        except ValueError as error:
            if isinstance(error, UserError):
                raise UserError(str(error)) from None
            raise UserError(f"{path} is not JSON ({error}), expected class names") from None
        if not names:
            raise UserError(f"{path} has no class names, expected a list or {{index: name}}")
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path} is empty, expected one class name per line")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"{path} has the class {twice!r} twice, expected every class once")
    return names


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist, expected a file of class names") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise UserError(f"{path} is not text in UTF-8, expected one class name per line") from None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _spaced(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", _plain(name)).strip()


def _first(name: str) -> str:
    """The first of several synonyms, as in transformers' names of ImageNet's classes."""
    return _spaced(name.split(",")[0])


# How names are compared, from strict to tolerant.
FORMS: tuple[Callable[[str], str], ...] = (str, _plain, _spaced, _first)


def rows(
    names: Sequence[str], folders: Sequence[str], titles: Sequence[str], where: str
) -> list[int]:
    """Find the row of the head for each class of the data.

    Args:
        names: class names of the head, in the order of its rows.
        folders: class folders of the data, in order.
        titles: class names of the folders in prompts, in the same order.
        where: what gives ``names``, for messages.

    Returns:
        a row for each class of the data, all of them different.

    Raises:
        LeftOut: with the verdict "other classes", if a class has no row or several.
    """
    if len(set(names)) == len(names):
        for scheme in (folders, titles):
            if set(scheme) <= set(names) and len(set(scheme)) == len(scheme):
                return [list(names).index(name) for name in scheme]
    found: list[int | None] = [None] * len(folders)
    for form in FORMS:
        taken = set(found)
        known: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            if row not in taken:
                known.setdefault(form(name), []).append(row)
        wanted: dict[str, set[int]] = {}
        for i, pair in enumerate(zip(folders, titles, strict=True)):
            for name in pair:
                if found[i] is None:
                    wanted.setdefault(form(name), set()).add(i)
        for i, pair in enumerate(zip(folders, titles, strict=True)):
            # The folder's name counts before its title.
            for name in map(form, pair):
                fits = known.get(name, [])
                if found[i] is None and len(fits) == 1 and len(wanted.get(name, ())) == 1:
                    found[i] = fits[0]
    missing = [folders[i] for i, row in enumerate(found) if row is None]
    if missing:
        raise LeftOut("other classes", _difference(names, folders, missing, where))
    if len(set(found)) < len(found):
        row = next(row for row in found if found.count(row) > 1)
        both = [folders[i] for i, each in enumerate(found) if each == row]
        raise LeftOut(
            "other classes",
            f"{where} names the class {names[row]!r}, which fits {both[0]!r} and {both[1]!r} of "
            "the data, expected one class for each",
        )
    return found


def unrelated(names: Sequence[str], folders: Sequence[str], titles: Sequence[str]) -> bool:
    """Whether no name fits a class of the data, however tolerantly they are compared."""
    return not set(map(_first, names)) & {_first(name) for name in (*folders, *titles)}


def _difference(
    names: Sequence[str], folders: Sequence[str], missing: Sequence[str], where: str
) -> str:
    shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    return (
        f"{where} names {len(names)} classes ({shown}), of which none or several fit "
        f"{len(missing)} of the data's {len(folders)} classes, such as {missing[0]!r}, expected "
        f"one for each{near(missing[0], names)}"
    )
