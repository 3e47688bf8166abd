"""The command's entry: parses, runs a subcommand, and turns faults into a line and an exit status."""

from __future__ import annotations

import sys
import warnings
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import get_args, get_origin

from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentParser,
    DefaultHelpFormatter,
    set_parsing_settings,
)

from mnad.cli.commands import COMMANDS
from mnad.runtime.errors import Interrupted, MnadError

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
    parser, lists = _parser(arguments)
    options = parser.parse_args(_with_brackets(arguments, lists))
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return COMMANDS[options.command].run(options[options.command]) or 0
    except MnadError as error:
        return _failed(options.command, str(error))
    except OSError as error:
        if error.filename is None:
            raise
        return _failed(options.command, f"{error.filename}: {error.strerror}")
    except Interrupted as stop:
        print(f"mnad {options.command}: {stop}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print(f"mnad {options.command}: interrupted; nothing is half written", file=sys.stderr)
        return INTERRUPTED


def _failed(command: str, words: str) -> int:
    from mnad.runtime.progress import without_passwords

    print(f"mnad {command}: {without_passwords(words)}", file=sys.stderr)
    return FAILED


def _parser(arguments: Sequence[str]) -> tuple[ArgumentParser, set[str]]:
    """Gives the parser, and the options that take several values."""
    from mnad import __version__

    lists: set[str] = set()
    parser = ArgumentParser(prog="mnad", description=_overview(), version=__version__, formatter_class=HelpFormatter)
    subcommands = parser.add_subcommands(required=False, dest="command")
    for name, command in COMMANDS.items():
        description = f"{command.summary}\n\nExample: {command.example}"
        sub = ArgumentParser(description=description, formatter_class=HelpFormatter)
        sub.add_argument("--config", action=ActionConfigFile, help="A YAML file with options of this command.")
        if name in arguments:  # the others' options would import torch for nothing
            command.add_options(sub)
            lists |= {action.option_strings[0] for action in sub._actions if _takes_several(action)}
        subcommands.add_subcommand(name, sub, help=command.summary)
    return parser, lists


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


def _takes_several(action: Action) -> bool:
    kind = getattr(action, "_typehint", None)
    return any(get_origin(part) is tuple for part in (kind, *get_args(kind)))


def _with_brackets(arguments: Sequence[str], lists: set[str]) -> list[str]:
    """Lets people write --levels 7000,9000, which the parser takes as [7000,9000] alone."""
    written: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in lists and equals:
            argument = f"{name}={_bracketed(value)}"
        elif written and written[-1] in lists:
            argument = _bracketed(argument)
        written.append(argument)
    return written


def _bracketed(value: str) -> str:
    return value if value.startswith("[") or value == "null" else f"[{value}]"


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
