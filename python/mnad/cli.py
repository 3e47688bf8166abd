"""The command ``mnad``.

Options are the fields of the config dataclasses; jsonargparse turns them into flags, reads them from YAML by
``--config``, and explains them in ``--help``.
"""

from __future__ import annotations

import json
import sys
import warnings
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from mnad.errors import Interrupted, MnadError

if TYPE_CHECKING:
    from mnad.metrics import Evaluation

DESCRIPTION = """Memory-guided video anomaly detection: learn what is normal from normal video, find what is not.

  mnad demo                                        all of it, small, in a few minutes
  mnad synth data/circles                          make the synthetic data set
  mnad inspect data/ped2                           say what a data set holds and what is wrong with it
  mnad prepare data/ped2                           decode it once, into a clip store
  mnad train --data data/circles --out runs/one    train a model
  mnad score runs/one --data data/circles          measure every test frame
  mnad evaluate runs/one                           AUC, with the protocol it was computed by

Every command explains itself: mnad train --help. Options can stand in a YAML file: mnad train --config train.yaml."""

INTERRUPTED, FAILED, UNUSABLE = 130, 2, 1


@dataclass(frozen=True)
class Command:
    """A subcommand: what it is for, what makes its options, what it does."""

    summary: str
    add_options: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int | None]


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of a description as they are written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Without the program's name; those of the process if None.

    Returns:
        The exit status: 0, 1 where inspected data cannot be used, 2 for a fault of input or options, 130 if
        interrupted.
    """
    warnings.showwarning = _show_warning
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    arguments = [_with_underscores(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    parser = _parser(arguments)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return COMMANDS[options.command].run(options[options.command]) or 0
    except MnadError as error:
        print(f"mnad {options.command}: {error}", file=sys.stderr)
        return FAILED
    except Interrupted as stop:
        print(f"mnad {options.command}: {stop}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print(f"mnad {options.command}: interrupted; nothing is half written", file=sys.stderr)
        return INTERRUPTED


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    from mnad import __version__

    parser = ArgumentParser(prog="mnad", description=DESCRIPTION, version=__version__, formatter_class=HelpFormatter)
    subcommands = parser.add_subcommands(required=False, dest="command")
    for name, command in COMMANDS.items():
        sub = ArgumentParser(description=command.summary, formatter_class=HelpFormatter)
        sub.add_argument("--config", action=ActionConfigFile, help="A YAML file with options of this command.")
        if name in arguments:  # the others' options would import torch for nothing
            command.add_options(sub)
        subcommands.add_subcommand(name, sub, help=command.summary.split("\n")[0])
    return parser


def _with_underscores(argument: str) -> str:
    """Lets people write --batch-size for the field batch_size, and --data.device-cache for device_cache."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    name = name.removeprefix("data.")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _synth_options(parser: ArgumentParser) -> None:
    from mnad.data.synthetic import SyntheticSpec

    parser.add_argument("out", type=Path, help="The folder to make.")
    parser.add_class_arguments(SyntheticSpec, as_group=False)


def _synth(options: Namespace) -> None:
    from mnad.data.synthetic import SyntheticSpec, write_synthetic

    write_synthetic(options.out, _build(SyntheticSpec, options))
    print(f"wrote {options.out}")


def _inspect_options(parser: ArgumentParser) -> None:
    from mnad.data.layouts import LayoutName

    parser.add_argument("data", type=Path, help="A data set in any known layout, or a clip store.")
    parser.add_argument(
        "--layout", type=LayoutName | None, default=None, help="How it is laid out; found by looking if left out."
    )
    parser.add_argument("--quick", action="store_true", help="Decode the first frame of each video only.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def _inspect(options: Namespace) -> int:
    from mnad.data.inspection import inspect
    from mnad.report.inspection_table import print_inspection

    inspection = inspect(options.data, options.layout, quick=options.quick, progress=not options.json)
    if options.json:
        print(json.dumps(inspection.as_dict(), indent=2))
    else:
        print_inspection(inspection)
    return 0 if inspection.usable else UNUSABLE


def _prepare_options(parser: ArgumentParser) -> None:
    from mnad.data.preparation import PrepareConfig

    parser.add_argument("data", type=Path, help="The data set's folder, in any known layout.")
    parser.add_class_arguments(PrepareConfig, as_group=False, skip={"data"})


def _prepare(options: Namespace) -> None:
    from mnad.data.preparation import PrepareConfig, prepare

    store = prepare(_build(PrepareConfig, options))
    for name, split in store.splits.items():
        shape = f"{store.size} x {store.size} x {store.channels}"
        print(f"{name}: {len(split.videos)} videos, {split.frames:,} frames, {shape}")
    print(f"wrote {store.path}")


def _train_options(parser: ArgumentParser) -> None:
    from mnad.training import TrainConfig

    parser.add_class_arguments(TrainConfig, as_group=False)


def _train(options: Namespace) -> None:
    from mnad.training import TrainConfig, train

    print(f"wrote {train(_build(TrainConfig, options))}")


def _score_options(parser: ArgumentParser) -> None:
    from mnad.scoring import ScoreConfig

    parser.add_argument("run", type=Path, help="A run's folder, or a checkpoint file.")
    parser.add_class_arguments(ScoreConfig, as_group=False, skip={"run"})


def _score(options: Namespace) -> None:
    from mnad.scoring import ScoreConfig, score

    print(f"wrote {score(_build(ScoreConfig, options))}")


def _evaluate_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="A run's folder, or a file of measurements.")
    parser.add_argument(
        "--lambda",
        dest="score_weight",
        type=float | None,
        default=None,
        help="Share of PSNR in the score, from 0 to 1; the published value of the task if left out.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def _evaluate(options: Namespace) -> None:
    from mnad.measurements import load_measurements
    from mnad.metrics import evaluate

    evaluation = evaluate(load_measurements(options.run), options.score_weight)
    if options.json:
        from dataclasses import asdict

        print(json.dumps(asdict(evaluation), indent=2))
    else:
        _print_evaluation(evaluation)


def _print_evaluation(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    protocol = evaluation.protocol
    undefined = [name for name, auc in evaluation.auc_by_video.items() if auc is None]
    macro = "undefined" if evaluation.macro_auc is None else f"{100 * evaluation.macro_auc:.2f} %"
    left_out = f" (without {', '.join(undefined)}: one kind of frame only)" if undefined else ""
    threshold = "" if protocol["threshold"] is None else f", where E_t < {protocol['threshold']}"
    rows = {
        "frame AUC, pooled": f"{100 * evaluation.auc:.2f} %",
        "frame AUC, mean of videos": macro + left_out,
        "frames scored": f"{evaluation.frames:,}, {evaluation.abnormal:,} abnormal",
        "labels": str(protocol["labels"]),
        "score": f"lambda {evaluation.score_weight:g}, P and D normalised {evaluation.normalisation}",
        "test-time update": f"{protocol['update']}{threshold}; {evaluation.updates:,} updates",
        "model": f"{protocol['preset']}, epoch {protocol['epoch']}, size {protocol['size']}",
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    Console(highlight=False).print(table)


def _demo_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo"), help="The folder for data, runs, table and figure.")


def _demo(options: Namespace) -> None:
    from mnad.demo import demo

    demo(options.out)


def _build(config: Callable[..., Any], options: Namespace) -> Any:
    from dataclasses import fields

    names = [field.name for field in fields(config)]  # type: ignore[arg-type]
    return config(**{name: options[name] for name in names})


COMMANDS = {
    "synth": Command(
        "Make the synthetic data set: circles are normal; squares and fast circles are not.\n\n"
        "Example: mnad synth data/circles --size 128 --objects 3",
        _synth_options,
        _synth,
    ),
    "inspect": Command(
        "Say what a data set holds and what is wrong with it; status 1 if it cannot be used.\n\n"
        "Example: mnad inspect data/ped2",
        _inspect_options,
        _inspect,
    ),
    "prepare": Command(
        "Decode and resize a data set once, into a memory-mapped clip store; goes on where it was stopped.\n\n"
        "Example: mnad prepare data/ped2 --out stores/ped2 --size 256",
        _prepare_options,
        _prepare,
    ),
    "train": Command(
        "Train a model on normal video.\n\n"
        "Example: mnad train --preset prediction --data ped2 --out runs/ped2 --width 16 --size 128 --epochs 1",
        _train_options,
        _train,
    ),
    "score": Command(
        "Measure every test frame with a trained model.\n\nExample: mnad score runs/ped2 --data ped2",
        _score_options,
        _score,
    ),
    "evaluate": Command(
        "Turn measurements into AUCs, with the protocol they were computed by.\n\n"
        "Example: mnad evaluate runs/ped2 --lambda 0.6",
        _evaluate_options,
        _evaluate,
    ),
    "demo": Command(
        "All of it, small: synthetic data, two models, a table and a figure, in a few minutes.\n\n"
        "Example: mnad demo --out demo",
        _demo_options,
        _demo,
    ),
}

if __name__ == "__main__":
    sys.exit(main())
