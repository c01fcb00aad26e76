"""The optional packages for texts, and the small model that the experiments on texts use."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from soups.errors import UserError
from soups.text.settings import sets, settings_of

ALWAYS, FOR_HUB = ("transformers", "tokenizers"), ("datasets",)
INSTALLS = "which `make text` installs (python -m pip install -r envs/requirements-text.txt)"
FETCHED = "models/minilm"  # folder of the model that tools/fetch_minilm.py writes


def check(data: Mapping) -> None:
    """Check that the packages for a ``data`` section are installed. None of them is imported.

    Raises:
        UserError: with the first package that is missing.
    """
    wanted = dict.fromkeys(ALWAYS, "data.source is 'text'")
    if data["text"] and any("hub" in spec for spec in sets(settings_of(data)).values()):
        wanted |= dict.fromkeys(FOR_HUB, "data.text has a set of Hugging Face's hub")
    for package, why in wanted.items():
        require(why, [package])


def require(why: str, packages: Sequence[str] = ALWAYS) -> None:
    """Check that packages are installed, without an import.

    Args:
        why: what needs them, for the message.
        packages: their names.

    Raises:
        UserError: with the first package that is missing.
    """
    for package in packages:
        if find_spec(package) is None:
            raise UserError(f"{why}, expected the package {package}, {INSTALLS}")


def check_fetched(place: str) -> None:
    """Check that the small model was fetched, if an experiment uses it.

    Args:
        place: a folder, or the name of a model on Hugging Face's hub.

    Raises:
        UserError: if the folder of the small model does not exist.
    """
    if Path(place) == Path(FETCHED) and not Path(place).is_dir():
        raise UserError(
            f"there is no folder {FETCHED}, expected the small model that "
            "`python tools/fetch_minilm.py` writes there"
        )
