"""The command's entry: parses, runs a subcommand, and turns faults into a line and an exit status."""

from __future__ import annotations

import sys
import warnings
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence

from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentParser,
    DefaultHelpFormatter,
    set_parsing_settings,
)

from mnad.cli.commands import COMMANDS
from mnad.errors import Interrupted, MnadError

INTERRUPTED, FAILED = 130, 2


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
        from mnad.progress import without_passwords

        print(f"mnad {options.command}: {without_passwords(str(error))}", file=sys.stderr)
        return FAILED
    except Interrupted as stop:
        print(f"mnad {options.command}: {stop}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print(f"mnad {options.command}: interrupted; nothing is half written", file=sys.stderr)
        return INTERRUPTED


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    from mnad import __version__

    parser = ArgumentParser(prog="mnad", description=_overview(), version=__version__, formatter_class=HelpFormatter)
    subcommands = parser.add_subcommands(required=False, dest="command")
    for name, command in COMMANDS.items():
        description = f"{command.summary}\n\nExample: {command.example}"
        sub = ArgumentParser(description=description, formatter_class=HelpFormatter)
        sub.add_argument("--config", action=ActionConfigFile, help="A YAML file with options of this command.")
        if name in arguments:  # the others' options would import torch for nothing
            command.add_options(sub)
        subcommands.add_subcommand(name, sub, help=command.summary)
    return parser


def _overview() -> str:
    lines = "\n".join(f"  {command.call:<48} {command.purpose}" for command in COMMANDS.values())
    return f"""Memory-guided video anomaly detection: learn what is normal from normal video, find what is not.

{lines}

Every command explains itself: mnad train --help. Options can stand in a YAML file: mnad train --config train.yaml."""


def _with_underscores(argument: str) -> str:
    """Lets people write --batch-size for the field batch_size, and --data.device-cache for device_cache."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    name = name.removeprefix("data.")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
