"""How fast each runtime is, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table

from mnad.measuring.timing import RuntimeTiming, advice
from mnad.runtime.provenance import device_name


def print_timings(timings: Sequence[RuntimeTiming]) -> None:
    """Prints the speed of each runtime, and which to take."""
    console = Console(highlight=False)
    console.print(f"{device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("runtime")
    for heading in ("batch", "frames/s", "to torch", "P differs by"):
        table.add_column(heading, justify="right")
    ours = {each.batch: each.frames_per_second for each in timings if each.runtime == "torch"}
    for each in timings:
        speed, times = each.frames_per_second, each.frames_per_second / ours[each.batch]
        table.add_row(each.runtime, str(each.batch), f"{speed:.1f}", f"{times:.2f}x", f"{each.psnr_difference:.0e} dB")
    console.print(table)
    console.print(advice(timings), markup=False, soft_wrap=True)
