"""Tell whether a run can begin here, before Snakemake does: other runs, and broken YAML.

python tools/ready.py --configfile config.yaml experiments/mine.yaml

The exit status is 75 if another run lives in this folder, and 1 if a file cannot be read.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

import _library  # noqa: F401
from soups.errors import UserError
from soups.jobs import living

BUSY = 75  # the exit status of `flock -E 75` in the Makefile


def refuse_broken(paths: Iterable[str | Path]) -> None:
    """Read YAML files, because Snakemake does not say which of them is broken.

    Raises:
        UserError: with file, line and column.
    """
    for path in paths:
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not text in UTF-8: {error.reason}") from None
        except yaml.YAMLError as error:
            raise UserError(f"{path} is not valid YAML{_place(error)}") from None
        # Snakemake refuses a file of comments alone, too.
        if not isinstance(content, dict):
            kind = "empty" if content is None else f"a {type(content).__name__}"
            raise UserError(f"{path} is {kind}, expected keys with values as in config.yaml")


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{where}: {problem}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", nargs="+", default=[], help="files that the run merges")
    given = parser.parse_args()
    if others := living.runs():
        print(f"error: {others[0].refusal()}", file=sys.stderr)
        raise SystemExit(BUSY)
    try:
        refuse_broken(given.configfile)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
