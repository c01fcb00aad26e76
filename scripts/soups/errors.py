"""The one exception that means: the user can mend this."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input. The message is one sentence: what, its value, what was expected."""


def near(name: str, known: Iterable[str]) -> str:
    """The end of a message: what was probably meant, if anything is like it."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
