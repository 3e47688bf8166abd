"""What comes of an experiment: a table of ours beside what was published, and plots, as Markdown and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mnad.runtime.files import atomic_write

Value = str | float | int | bool | None


@dataclass(frozen=True)
class Result:
    """The outcome of an experiment.

    Attributes:
        name: What the experiment is called by ``mnad reproduce``.
        title: What it shows.
        rows: The table, a dictionary from column to value each; None is an empty cell.
        notes: What a reader must know of how the numbers were made.
        missing: Rows that could not be run, and why.
        plots: Files beside the table, with what they show.
        provenance: Scale, device, versions, commit, time.
    """

    name: str
    title: str
    rows: list[dict[str, Value]]
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Value] = field(default_factory=dict)

    def markdown(self, level: int = 1, folder: str = "") -> str:
        """Returns the result as a section of Markdown, its plots found in ``folder``."""
        lines = [f"{'#' * level} {self.name}: {self.title}", ""]
        if self.rows:
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            lines += ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in self.rows]
            lines.append("")
        lines += [f"Not run: {what}.\n" for what in self.missing]
        lines += [f"{note}\n" for note in self.notes]
        lines += [f"![{caption}]({folder}{file})\n\n{caption}\n" for file, caption in self.plots.items()]
        lines.append("; ".join(f"{name}: {_cell(value)}" for name, value in self.provenance.items()))
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Writes ``table.md`` and ``table.json`` into a folder.

        Raises:
            OutputError: If they cannot be written.
        """
        with atomic_write(folder / "table.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")
        with atomic_write(folder / "table.md") as temporary:
            temporary.write_text(self.markdown())


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1 else _number(value)


def _number(value: Value) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
