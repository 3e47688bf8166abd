"""``mnad demo``, all of it, small: synthetic data, two models, a table, a figure and an HTML report."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mnad.artifacts.measurements import Measurements
from mnad.data import kinds_of
from mnad.models import PresetName
from mnad.report.page import ReportConfig, write_report
from mnad.reproduction.anomalies import anomaly_specs, auc_by_kind, figures6_to_9
from mnad.reproduction.published import MODELS, PREDICTION, RECONSTRUCTION
from mnad.reproduction.runner import MeasurementSpec, Runner
from mnad.reproduction.scale import SCALES
from mnad.runtime.errors import Interrupted
from mnad.runtime.files import atomic_write, writable_folder
from mnad.runtime.progress import lines_logged_only

SMALL = SCALES["small"]
SCALE = replace(SMALL, stride=1, synthetic=replace(SMALL.synthetic, kinds=("spatial", "temporal", "spatio-temporal")))
TASKS: dict[PresetName, str] = {
    PREDICTION: "to predict the next frame from the four before",
    RECONSTRUCTION: "to restore the frame that it is shown",
}
INTRODUCTION = (
    "Two small models learn from synthetic video what is normal, circles at one speed, and then look for anomalies in "
    "new video: squares (spatial), fast circles (temporal) and fast squares (spatio-temporal). It takes a few minutes "
    "on two cores; stopped, the same command goes on where it was."
)
CONCLUSION = (
    "AUC is the probability that an abnormal frame scores higher than a normal one; guessing gives 50 %. Prediction "
    "sees what moves wrongly; reconstruction, which is shown the very frame that it restores, hardly does. Scored by "
    "the published protocol: lambda 0.6 (prediction) and 0.7 (reconstruction), P and D normalised per video, test-time "
    "update carried over."
)


def demo(out: Path) -> Mapping[PresetName, Mapping[str, float]]:
    """Makes data, trains, scores, prints a table of AUCs, draws a figure and writes the HTML report of prediction.

    What is found in ``out`` from an earlier demo is used again where its configuration is the same. What training and
    scoring have to say goes to the logs in the folders of the runs; of the memories' health one line is printed.

    Args:
        out: The folder for everything.

    Returns:
        AUC by model and kind of anomaly, in [0, 1].

    Raises:
        Interrupted: If it was stopped; the same call goes on where it was.
        OutputError: If the folder cannot be written.
    """
    began = time.perf_counter()
    console = Console(highlight=False)
    writable_folder(out)
    runner = Runner(out, {}, SCALE, accelerator="cpu", cache=out / "cache")
    prediction, *others = anomaly_specs(runner, [0])
    specs = [replace(prediction, maps=True), *others]
    console.print(f"{INTRODUCTION}\n")
    kinds = kinds_of(runner.path("synthetic"))
    measured = {spec.training.preset: _measured(console, runner, spec, specs) for spec in specs}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        aucs = {preset: auc_by_kind(measurements, kinds) for preset, measurements in measured.items()}
        figures6_to_9(runner, [0], out, "demo.png")
        run, file = runner.folder_of(prediction.training), runner.measurements_file(prediction)
        page = write_report(ReportConfig(run, out / "report.html", file))
    with atomic_write(out / "demo.json") as temporary:
        temporary.write_text(json.dumps(aucs, indent=2) + "\n")
    _print_table(console, aucs)
    if faults := [*_faults(runner, specs), *dict.fromkeys(str(warning.message) for warning in caught)]:
        console.print(f"note     {'; '.join(faults)}", soft_wrap=True)
    console.print(f"figure   {out / 'demo.png'}", soft_wrap=True)
    console.print(
        f"report   {page.resolve().as_uri()}   each test video with its score, in any browser", soft_wrap=True
    )
    console.print(f"all of it in {out}, {time.perf_counter() - began:.0f} s", soft_wrap=True)
    return aucs


def _measured(
    console: Console, runner: Runner, spec: MeasurementSpec, specs: Sequence[MeasurementSpec]
) -> Measurements:
    """Trains and measures, with a line before and a line after."""
    preset = spec.training.preset
    name = f"{specs.index(spec) + 1}/{len(specs)} {MODELS[preset]}"
    if runner.is_trained(spec.training) and runner.is_measured(spec):
        console.print(f"{name}: found as an earlier demo left it", soft_wrap=True)
        return runner.measured(spec)
    console.print(f"{name}: training for {SCALE.epochs['synthetic']} epochs {TASKS[preset]}", soft_wrap=True)
    began = time.perf_counter()
    try:
        with lines_logged_only():
            measured = runner.measured(spec)
    except Interrupted as stop:
        raise Interrupted("stopped, and what was done is kept; the same command goes on where it was") from stop
    seconds = time.perf_counter() - began
    console.print(f"    trained, and {len(measured)} test frames scored, in {seconds:.0f} s", soft_wrap=True)
    return measured


def _faults(runner: Runner, specs: Sequence[MeasurementSpec]) -> list[str]:
    """Returns what looks wrong with the memories after training, by model."""
    health = {spec.training.preset: runner.health(spec.training) for spec in specs}
    found = {preset: state.warnings() for preset, state in health.items() if state is not None}
    return [f"the memory of {preset}: {'; '.join(faults)}" for preset, faults in found.items() if faults]


def _print_table(console: Console, aucs: Mapping[PresetName, Mapping[str, float]]) -> None:
    table = Table(title="frame AUC by kind of anomaly", title_justify="left")
    table.add_column("model")
    for kind in SCALE.synthetic.kinds:
        table.add_column(kind, justify="right")
    for preset, by_kind in aucs.items():
        table.add_row(MODELS[preset], *(f"{100 * auc:.1f} %" for auc in by_kind.values()))
    console.print()
    console.print(table)
    console.print(f"{CONCLUSION}\n")
