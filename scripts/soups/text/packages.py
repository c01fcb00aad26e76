"""The optional packages for texts, whose absence is an error before any job runs."""

from collections.abc import Mapping
from importlib.util import find_spec

from soups.errors import UserError
from soups.text.settings import sets, settings_of

ALWAYS, FOR_HUB = ("transformers", "tokenizers"), ("datasets",)
INSTALLS = "which `make text` installs (python -m pip install -r envs/requirements-text.txt)"


def check(data: Mapping) -> None:
    """Check that the packages for a ``data`` section are installed. None of them is imported.

    Raises:
        UserError: with the first package that is missing.
    """
    wanted = dict.fromkeys(ALWAYS, "data.source is 'text'")
    if data["text"] and any("hub" in spec for spec in sets(settings_of(data)).values()):
        wanted |= dict.fromkeys(FOR_HUB, "data.text has a set of Hugging Face's hub")
    for package, why in wanted.items():
        if find_spec(package) is None:
            raise UserError(f"{why}, expected the package {package}, {INSTALLS}")
