"""What was found in a data set, as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mnad.data.inspection import Inspection, LabelSummary, SplitSummary

MOST_PROBLEMS = 30


def print_inspection(inspection: Inspection) -> None:
    """Prints the splits, the label sets and the problems, and whether the data can be used."""
    console = Console(highlight=False)
    console.print(f"{inspection.path}: {inspection.layout}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "videos", "frames", "frames/s", "resolution", "colour", "masks"):
        table.add_column(heading, justify="right" if heading in ("videos", "frames", "frames/s") else "left")
    for split in inspection.splits:
        table.add_row(*_row(split))
    console.print(table)
    if inspection.levels is not None:
        black, white = inspection.levels
        console.print(f"pixels of more than 8 bits: {black:g} becomes black, {white:g} white", markup=False)
    for split in inspection.splits:
        for labels in split.labels:
            console.print(_describe(labels, split), markup=False, soft_wrap=True)
    for problem in inspection.problems[:MOST_PROBLEMS]:
        colour = "red" if problem.level == "error" else "yellow"
        console.print(f"[{colour}]{problem.level}[/{colour}]:", end=" ")
        console.print(problem.message, markup=False, soft_wrap=True)
    if len(inspection.problems) > MOST_PROBLEMS:
        console.print(f"and {len(inspection.problems) - MOST_PROBLEMS} more; --json lists them all")
    looked = " (first frames only)" if inspection.quick else ""
    console.print(f"[bold]{'can' if inspection.usable else 'cannot'} be used[/bold]{looked}")


def _row(split: SplitSummary) -> tuple[str, ...]:
    resolutions = ", ".join(
        name if len(split.resolutions) == 1 else f"{name} ({count} videos)" for name, count in split.resolutions.items()
    )
    rates = ", ".join(name if len(split.rates) == 1 else f"{name} ({count})" for name, count in split.rates.items())
    masks = f"{split.masked_videos} of {split.videos} videos" if split.masked_videos else "none"
    colour = "grey" if split.grey else "colour"
    return split.name, f"{split.videos:,}", f"{split.frames:,}", rates or "not said", resolutions, colour, masks


def _describe(labels: LabelSummary, split: SplitSummary) -> str:
    share = 100 * labels.abnormal / max(split.frames, 1)
    agreement = {None: "", 0: "; they agree with the masks"}.get(
        labels.differs_from_masks, f"; they differ from the masks in {labels.differs_from_masks} frames"
    )
    return f"labels {labels.name}: {labels.abnormal:,} abnormal frames ({share:.1f} %){agreement}; {labels.source}"
