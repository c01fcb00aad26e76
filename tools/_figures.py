"""The figures of `make gpu` as tables that are complete at any moment."""

import csv
from pathlib import Path

COLUMNS = ("hardware", "command", "n", "part", "what", "value", "unit")


class Report:
    """The figures so far, as a table in CSV and in Markdown.

    Args:
        folder: where both are written.
        hardware: one line about the machine.
        cpu: whether the sizes are small.
    """

    def __init__(self, folder: Path, hardware: str, cpu: bool) -> None:
        self._folder, self._hardware, self._cpu = folder, hardware, cpu
        self._rows: list[dict] = []
        self._states: dict[str, str] = {}

    def add(self, part: str, what: str, value, unit: str, n: int = 1) -> None:
        """Add a figure and write the tables."""
        command = f"python tools/gpu.py{' --cpu' * self._cpu} --parts {part}"
        given = (self._hardware, command, n, part, what, value, unit)
        self._rows.append(dict(zip(COLUMNS, given, strict=True)))
        print(f"{part}: {what}: {value} {unit}", flush=True)
        self._write()

    def state(self, part: str, text: str) -> None:
        """Note how a part goes, and write the tables."""
        self._states[part] = text
        self._write()

    def _write(self) -> None:
        with (self._folder / "gpu.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self._rows)
        lines = ["# Tests and measurements", "", f"{self._hardware}.", ""]
        if self._cpu:
            lines += ["The sizes were small and the device was the CPU, so no speed counts.", ""]
        lines += ["| part | state |", "|---|---|"]
        lines += [f"| {part} | {text} |" for part, text in self._states.items()]
        lines += ["", "| part | figure | value | n |", "|---|---|---|---|"]
        for row in self._rows:
            value = f"{row['value']} {row['unit']}".strip()
            lines.append(f"| {row['part']} | {row['what']} | {value} | {row['n']} |")
        (self._folder / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
