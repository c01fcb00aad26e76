"""The status of an experiment as text for people."""

import textwrap
import time
from collections import Counter
from datetime import datetime

from soups.jobs.progress import duration
from soups.jobs.status import Ingredient, Status, seconds

WIDTH = 110  # columns of a terminal
BEGUN = ("running", "silent", "interrupted", "failed")  # states that a low terminal shows, too


def text(status: Status, height: int | None = None, now: float | None = None) -> str:
    """Format a status for people, at most `WIDTH` columns wide.

    Args:
        status: the return value of `look`.
        height: lines of the terminal. If the text is longer, it leaves out ingredients that are
            done or waiting.
        now: seconds since 1970; by default this machine's clock.
    """
    now = time.time() if now is None else now
    rows = [_row(m, now) for m in status.ingredients]
    notes = [line for m in status.ingredients for line in _note(m)]

    def page(table: list[str]) -> str:
        parts = ([_head(status, now)], table, notes, _summary(status))
        return "\n\n".join("\n".join(part) for part in parts if part)

    whole = page(_table(rows, status.examples))
    if height is None or whole.count("\n") < height:
        return whole
    rest = Counter(m.state for m in status.ingredients if m.state not in BEGUN)
    hidden = "not shown: " + ", ".join(f"{count} {state}" for state, count in rest.items())
    begun = _table([row for row in rows if row[1] in BEGUN], status.examples)
    return page([*begun, *([hidden] if rest else [])])


def _head(status: Status, now: float) -> str:
    line = f"{status.folder}: last run begun {_when(seconds(status.begun), now)}"
    if not status.ended:
        return line
    how = "ended"
    if status.interrupted:
        how = "interrupted"
    elif status.failed is not None:
        how = f"failed, see {status.failed}" if status.failed else "failed"
    return f"{line}, {_when(seconds(status.ended), now)} {how}"


BAR = 10  # characters


def _row(m: Ingredient, now: float) -> list[str]:
    training = m.total is not None
    return [
        m.name,
        m.state,
        f"{m.step} of {m.total}" if training else "",
        _bar(m.step / m.total) if training and m.total and m.state in BEGUN else "",
        "" if m.loss is None else f"{m.loss:.4f}",
        "" if m.speed is None else f"{m.speed:,}",
        ("?" if m.left is None else duration(m.left)) if m.state == "running" else "",
        "" if m.since is None else _when(m.since, now),
        "" if m.quiet is None else f"{duration(m.quiet)} ago",
    ]


def _bar(share: float) -> str:
    full = int(share * BAR)
    return "#" * full + "." * (BAR - full)


def _table(rows: list[list[str]], examples: str) -> list[str]:
    """Return aligned lines. Empty columns are left out, and long names are cut to fit `WIDTH`."""
    if not rows:
        return []
    header = ["model", "state", "step", "", "loss", f"{examples}/s", "left", "since", "last line"]
    columns = [i for i in range(len(header)) if any(row[i] for row in rows)]
    cells = [[row[i] for i in columns] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = WIDTH - sum(width + 2 for width in widths[1:])
    widths[0] = min(widths[0], max(room, len(header[0])))
    cells.insert(1, ["-" * width for width in widths])
    return [
        "  ".join(
            _cut(cell, width).ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


def _note(m: Ingredient) -> list[str]:
    if m.note is None:
        return []
    said = textwrap.wrap(f"{m.name} {m.state}: {m.note}", WIDTH, subsequent_indent="  ")
    return [*said, f"  {m.log}"]


def _summary(status: Status) -> list[str]:
    width = max(len(stage) for stage, _, _ in status.stages)
    digits = max(len(str(planned)) for _, _, planned in status.stages)
    lines = []
    for stage, done, planned in status.stages:
        line = f"{stage:<{width}}  {done:>{digits}} of {planned:>{digits}}"
        if stage == "ingredients" and done < planned:
            states = Counter(m.state for m in status.ingredients)
            line += "".join(f", {states[s]} {s}" for s in (*BEGUN, "waiting") if states[s])
            line += "; ? left" if status.left is None else f"; about {duration(status.left)} left"
        lines.append(line)
    return lines


def _when(moment: float, now: float) -> str:
    then, today = datetime.fromtimestamp(moment), datetime.fromtimestamp(now)
    return then.strftime("%H:%M" if then.date() == today.date() else "%b %d %H:%M")
