"""What came of scoring on a cluster, as people read it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mnad.pipeline.score_videos import Summary
from mnad.runtime.progress import print_line


def print_summary(summary: Summary) -> None:
    """Prints how much was scored, where it is, and a table of the videos that failed."""
    kept = summary.videos - summary.computed - len(summary.failed)
    print_line(
        f"{summary.videos} videos: {summary.computed} scored in {summary.seconds:.0f} s, {kept} scored before, "
        f"{len(summary.failed)} failed; the workers took {summary.decoding:.0f} s to decode and "
        f"{summary.computing:.0f} s to compute"
    )
    if summary.failed:
        table = Table("video", "what is wrong", title="failed", title_justify="left")
        for name, fault in sorted(summary.failed.items()):
            table.add_row(name, fault)
        Console(highlight=False, markup=False).print(table)
    print_line(f"wrote {summary.file or summary.folder}")
