"""Numbers of texts, before any of them is prepared."""

from collections.abc import Mapping

from soups.text import reading
from soups.text.source import Texts


def numbers(source: Texts) -> dict[str, int]:
    """Number of texts of each set. All files are read, as by the rule ``read_texts``.

    Raises:
        UserError: if a file has an error.
    """
    found = {name: len(reading.read(source.origin(name), name)[0]) for name in source.found}
    return found | dict.fromkeys(source.perturbed, found["test"])


def preparation(numbers: Mapping[str, int]) -> tuple[int, dict[str, int]]:
    """Jobs and texts of the preparation, see `problems.Problem.preparation`.

    Every set is read (or derived) and tokenized, and the held-out texts are split off in two jobs.
    A last job compares all sets.
    """
    return 2 * len(numbers) + 1, {"tokenize": sum(numbers.values())}
