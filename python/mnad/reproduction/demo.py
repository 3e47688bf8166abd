"""All of it, small: synthetic data, prediction and reconstruction with memory, a table and a figure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mnad.data import kinds_of
from mnad.models import PresetName
from mnad.reproduction.anomalies import anomaly_specs, auc_by_kind, figures6_to_9
from mnad.reproduction.published import MODELS
from mnad.reproduction.runner import Runner
from mnad.reproduction.scale import SCALES
from mnad.runtime.files import atomic_write, writable_folder

SMALL = SCALES["small"]
SCALE = replace(SMALL, stride=1, synthetic=replace(SMALL.synthetic, kinds=("spatial", "temporal", "spatio-temporal")))


def demo(out: Path) -> Mapping[PresetName, Mapping[str, float]]:
    """Makes data, trains, scores, prints a table of AUCs and draws a figure; takes a few minutes on two cores.

    What is found in ``out`` from an earlier demo is used again where its configuration is the same.

    Args:
        out: The folder for everything.

    Returns:
        AUC by model and kind of anomaly, in [0, 1].
    """
    began = time.perf_counter()
    console = Console(highlight=False)
    writable_folder(out)
    runner = Runner(out, {}, SCALE, accelerator="cpu", cache=out / "cache")
    console.print("[bold]synthetic videos[/bold]: circles are normal; squares and fast circles are not")
    kinds = kinds_of(runner.path("synthetic"))
    aucs = {spec.training.preset: auc_by_kind(runner.measured(spec), kinds) for spec in anomaly_specs(runner, [0])}
    figures6_to_9(runner, [0], out, "demo.png")
    with atomic_write(out / "demo.json") as temporary:
        temporary.write_text(json.dumps(aucs, indent=2) + "\n")
    _print_table(console, aucs)
    console.print(
        f"figure: {out / 'demo.png'}   data and runs: {out}   {time.perf_counter() - began:.0f} s", soft_wrap=True
    )
    return aucs


def _print_table(console: Console, aucs: Mapping[PresetName, Mapping[str, float]]) -> None:
    table = Table(title="frame AUC by kind of anomaly", title_justify="left")
    table.add_column("model")
    for kind in SCALE.synthetic.kinds:
        table.add_column(kind, justify="right")
    for preset, by_kind in aucs.items():
        table.add_row(MODELS[preset], *(f"{100 * auc:.1f} %" for auc in by_kind.values()))
    console.print(table)
    console.print(
        "published protocol: lambda 0.6 (prediction) and 0.7 (reconstruction), P and D normalised per video, test-time "
        "update carried-over. Prediction sees what moves wrongly; reconstruction, which is shown the frame itself, "
        "hardly does.",
        soft_wrap=True,
    )
