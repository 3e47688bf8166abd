"""The command's entry: parses, runs a subcommand, and turns faults into a line and an exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.commands import COMMANDS
from mnad.cli.options import ConfigFile, HelpFormatter, add_options, build, with_brackets, with_dashes_undone, with_name
from mnad.runtime.errors import Interrupted, MnadError

INTERRUPTED, FAILED = 130, 2


class Parser(ArgumentParser):
    """A parser whose errors hide passwords in addresses."""

    def error(self, message: str, *arguments: Any, **options: Any) -> NoReturn:
        """Prints what is wrong, and ends the process."""
        from mnad.runtime.progress import without_passwords

        super().error(without_passwords(message), *arguments, **options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Without the program's name; those of the process if None.

    Returns:
        The exit status: 0, 1 where inspected data cannot be used, 2 for a fault of input or options, 130 if
        interrupted.
    """
    warnings.showwarning = _show_warning
    arguments = with_dashes_undone(sys.argv[1:] if arguments is None else arguments)
    if named := _command_in(arguments):
        arguments = with_name(arguments, named, COMMANDS[named].first)
    parser, lists = _parser(arguments)
    options = parser.parse_args(with_brackets(arguments, lists))
    if options.command is None:
        parser.print_help()
        return 0
    try:
        options = parser.instantiate_classes(options)
        return _run(options.command, options[options.command])
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


def _run(name: str, options: Namespace) -> int:
    command = COMMANDS[name]
    config, function = build(command, options), command.load_function()
    return (function(config, options.json) if command.json else function(config)) or 0


def _failed(command: str, words: str) -> int:
    from mnad.runtime.progress import without_passwords

    print(f"mnad {command}: {without_passwords(words)}", file=sys.stderr)
    return FAILED


def _parser(arguments: Sequence[str]) -> tuple[ArgumentParser, set[str]]:
    """Returns the parser, and the options that take several values."""
    from mnad.runtime.version import __version__

    lists: set[str] = set()
    named = _command_in(arguments)
    parser = Parser(prog="mnad", description=_overview(), version=__version__, formatter_class=HelpFormatter)
    subcommands = parser.add_subcommands(required=False, dest="command")
    for name, command in COMMANDS.items():
        description = f"{command.summary}\n\nExample: {command.example}"
        sub = Parser(description=description, formatter_class=HelpFormatter)
        sub.add_argument("--config", action=ConfigFile, help="A YAML file with options of this command.")
        if name == named:  # the others' options would import torch for nothing
            lists = add_options(sub, command)
        subcommands.add_subcommand(name, sub, help=command.summary)
    return parser, lists


def _command_in(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if argument in COMMANDS), None)


def _overview() -> str:
    lines = "\n".join(f"  {command.example}\n      {command.summary}" for command in COMMANDS.values())
    return f"""Memory-guided video anomaly detection: learn what is normal from normal video, find what is not.

{lines}

Every command explains itself: mnad train --help. Options can stand in a YAML file: mnad train --config train.yaml."""


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    from mnad.runtime.progress import without_passwords

    print(f"warning: {without_passwords(str(message))}", file=sys.stderr)
