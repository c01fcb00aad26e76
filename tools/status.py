"""Show how an experiment proceeds: python tools/status.py results/miniature [--watch] [--json]"""

import argparse
import json
import shutil
import signal
import sys
import time

import _library  # noqa: F401
from soups.errors import UserError
from soups.jobs import status
from soups.jobs.status_text import text


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Show the progress of an experiment.")
    parser.add_argument("folder", nargs="?", default="results/miniature", help="results/<name>")
    parser.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=5.0,
        metavar="SECONDS",
        help="show the status again at this interval (5 seconds by default) until all is done",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON for programs, one line per status"
    )
    chosen = parser.parse_args(arguments)
    if chosen.watch is not None and not 0 < chosen.watch < float("inf"):
        parser.error(f"--watch is {chosen.watch:g}, expected seconds above 0")
    while True:
        now = status.look(chosen.folder)
        show(now, chosen.json, chosen.watch is not None)
        if chosen.watch is None or now.done:
            return
        time.sleep(chosen.watch)


def show(now: status.Status, as_json: bool, watching: bool) -> None:
    """Print a status; a watched terminal shows it in place of the previous one, cut to its height.

    Args:
        now: the status.
        as_json: print JSON for programs.
        watching: more statuses may follow.
    """
    if as_json:
        print(json.dumps(status.as_json(now)), flush=True)
    elif watching and sys.stdout.isatty():
        shown = text(now, height=shutil.get_terminal_size().lines - 1)
        print("\x1b[H\x1b[2J" + shown, flush=True)
    else:
        print(text(now) + ("\n" if watching else ""), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a closed pipe, as of `| head`, is no error
    try:
        main(sys.argv[1:])
    except (UserError, OSError) as error:  # e.g. a file that this user may not read
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
