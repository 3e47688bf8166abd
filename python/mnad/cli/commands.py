"""The table of subcommands, in the order in which people meet them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Command:
    """A subcommand: its options are the fields of a config dataclass, which a function is called with.

    Both are named by ``module:name`` and imported when they are needed: ``mnad --help`` must not wait for torch.

    Attributes:
        config: The config dataclass.
        function: Takes the config, prints what came of it, and returns the exit status or None for 0.
        summary: What the command does, in a sentence.
        example: The simplest call.
        positional: Fields that are given without a name, in order; the last may be left out if they have defaults.
        first: A field that may be given without a name right after the command, or by name.
        json: Whether ``--json`` prints JSON; the function then takes a second argument that says so.
    """

    config: str
    function: str
    summary: str
    example: str
    positional: tuple[str, ...] = ()
    first: str = ""
    json: bool = False

    def load_config(self) -> Any:
        """Imports the config dataclass."""
        return _load(self.config)

    def load_function(self) -> Any:
        """Imports the function."""
        return _load(self.function)


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


COMMANDS = {
    "demo": Command(
        config="mnad.cli.configs:DemoConfig",
        function="mnad.cli.actions:demo",
        summary="Train two models on synthetic video and find anomalies, in a few minutes.",
        example="mnad demo",
    ),
    "synth": Command(
        config="mnad.cli.configs:SynthConfig",
        function="mnad.cli.actions:synth",
        summary="Make the synthetic data set: circles are normal, squares and fast circles are not.",
        example="mnad synth data/circles",
        positional=("out",),
    ),
    "inspect": Command(
        config="mnad.cli.configs:InspectConfig",
        function="mnad.cli.actions:inspect",
        summary="Say what a data set holds and what is wrong with it. Status 1 if it cannot be used.",
        example="mnad inspect data/ped2",
        positional=("data",),
        json=True,
    ),
    "prepare": Command(
        config="mnad.data.preparation:PrepareConfig",
        function="mnad.cli.actions:prepare",
        summary="Decode and resize a data set once, into a clip store. Goes on where it was stopped.",
        example="mnad prepare data/ped2 --out stores/ped2",
        positional=("data",),
    ),
    "train": Command(
        config="mnad.training:TrainConfig",
        function="mnad.cli.actions:train",
        summary="Train a model on normal video.",
        example="mnad train --data data/circles --out runs/one",
    ),
    "convert": Command(
        config="mnad.pipeline.convert:ConvertConfig",
        function="mnad.cli.actions:convert",
        summary="Make a run of a published checkpoint of the released code. Nothing in its files is run.",
        example="mnad convert model.pth keys.pt --out runs/published",
        positional=("model", "keys"),
    ),
    "score": Command(
        config="mnad.pipeline.score:ScoreConfig",
        function="mnad.cli.actions:score",
        summary="Measure every test frame with a trained model.",
        example="mnad score runs/one --data data/circles",
        positional=("run",),
    ),
    "calibrate": Command(
        config="mnad.pipeline.calibrate:CalibrateConfig",
        function="mnad.cli.actions:calibrate",
        summary="Find alarm thresholds from normal video alone, and store them in the checkpoint.",
        example="mnad calibrate runs/one --data data/circles --fps 25",
        positional=("run",),
    ),
    "evaluate": Command(
        config="mnad.pipeline.evaluate:EvaluateConfig",
        function="mnad.cli.actions:evaluate",
        summary="Turn measurements into scores, AUCs and alarms, with all the choices behind them.",
        example="mnad evaluate runs/one --sweep",
        positional=("run",),
        json=True,
    ),
    "plots": Command(
        config="mnad.report.run_plots:PlotsConfig",
        function="mnad.cli.actions:plots",
        summary="Draw where queries and items lie (t-SNE and PCA), and how the items are used.",
        example="mnad plots runs/one --data data/circles",
        positional=("run",),
    ),
    "report": Command(
        config="mnad.report.page:ReportConfig",
        function="mnad.cli.actions:report",
        summary="Write one HTML file of a scored run: plots, and each video with its score.",
        example="mnad report runs/one",
        positional=("run",),
    ),
    "overlay": Command(
        config="mnad.report.overlay:OverlayConfig",
        function="mnad.cli.actions:overlay",
        summary="Draw score, labels, threshold and error heatmap on the test videos, as .mp4.",
        example="mnad overlay runs/one --out videos",
        positional=("run",),
    ),
    "watch": Command(
        config="mnad.watching.settings:WatchConfig",
        function="mnad.cli.actions:watch",
        summary="Watch cameras, files and folders, and write what is abnormal. Goes on where it was stopped.",
        example="mnad watch runs/one --source gate=rtsp://camera/stream",
        first="run",
    ),
    "export": Command(
        config="mnad.pipeline.export:ExportConfig",
        function="mnad.cli.actions:export",
        summary="Write a trained model for other runtimes (ONNX, OpenVINO, torch.export), compared with the original.",
        example="mnad export runs/one --format onnx --out exports/one",
        positional=("run",),
    ),
    "bench": Command(
        config="mnad.pipeline.bench:BenchConfig",
        function="mnad.cli.actions:bench",
        summary="Say which runtime is the fastest for a model on this machine: torch, OpenVINO or ONNX Runtime.",
        example="mnad bench runs/one",
        positional=("run",),
        json=True,
    ),
    "reproduce": Command(
        config="mnad.reproduction:ReproduceConfig",
        function="mnad.cli.actions:reproduce",
        summary="Run the experiments of a table or figure of the paper, and print ours beside it.",
        example="mnad reproduce table4 --data ped2=data/ped2 --out tables",
        positional=("name",),
    ),
}
