"""The exception for mistakes that the user can correct."""

import difflib
from collections.abc import Iterable

MOST = 200  # characters that our message quotes of another program's message


class UserError(ValueError):
    """Bad input. The message names the key or file, its value, and the expectation."""


class LeftOut(UserError):
    """A model that no soup may contain. The run continues without it unless it is strict.

    Attributes:
        verdict: short term for tables, such as "diverged".
    """

    def __init__(self, verdict: str, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


def brief(error: object) -> str:
    """Another program's message on one line, cut off after `MOST` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= MOST else text[:MOST] + "…"


def near(name: str, known: Iterable[str]) -> str:
    """The end of a message that suggests the most similar known name, or "" if none is similar."""
    meant = closest(name, known)
    return "" if meant is None else f"; did you mean {meant}?"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to ``name``, regardless of upper and lower case."""
    spelled = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), spelled, 1)
    return spelled[found[0]] if found else None
