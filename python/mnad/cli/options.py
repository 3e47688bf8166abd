"""From the fields of a config dataclass to the options of a command.

Types, defaults and help are those of the fields and of their docstrings; fields of base classes count, so an option
that several commands share is written once. A bool is a flag, ``--resume`` or ``--no-resume``.
"""

from __future__ import annotations

import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from inspect import get_annotations
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ActionYesNo,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
)

from mnad.cli.commands import Command
from mnad.runtime.places import as_text, as_typed

NAMES = {"score_weight": "lambda"}  # no field can be called lambda


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of a description as they are written, and shows options with dashes."""

    def _format_usage(self, *arguments: Any) -> str:
        return _with_dashes(super()._format_usage(*arguments))

    def _format_action_invocation(self, action: Any) -> str:
        return _with_dashes(super()._format_action_invocation(action))


class ConfigFile(ActionConfigFile):
    """Reads options from a YAML file by the names that ``--help`` shows, batch-size and no-resume among them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Hands the options on by the names of their fields."""
        try:
            found = yaml.safe_load(Path(values).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            parser.error(f"--config: {values} cannot be read as YAML: {error}")
        if not isinstance(found, dict):
            parser.error(f"--config: {values} must hold options as NAME: VALUE")
        options: dict[str, Any] = {}
        for name, value in found.items():
            name = str(name).replace("-", "_")
            if name.startswith("no_") and isinstance(value, bool):
                name, value = name.removeprefix("no_"), not value
            if name in options:
                parser.error(f"--config: {values} has the option {name} twice")
            options[name] = value
        super().__call__(parser, namespace, yaml.safe_dump(options), option_string)  # type: ignore[no-untyped-call]


def add_options(parser: ArgumentParser, command: Command) -> set[str]:
    """Adds the options of a command.

    Returns:
        Those that take several values separated by commas.
    """
    config = command.load_config()
    help_of, types = _descriptions(config), get_type_hints(config)
    defaults = {field.name: field.default for field in fields(config)}
    for name in command.positional:
        may_lack: dict[str, Any] = {} if defaults[name] is MISSING else {"nargs": "?", "default": defaults[name]}
        parser.add_argument(name, type=as_text(types[name]), help=help_of[name], **may_lack)
    for field in _own_first(config):
        if field.name not in command.positional:
            _add_option(parser, field, as_text(types[field.name]), help_of[field.name])
    if command.json:
        parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    return {f"--{name}" for name, kind in types.items() if _takes_several(kind)}


def build(command: Command, options: Namespace) -> Any:
    """Returns the command's config with the options in its fields.

    Raises:
        ConfigError: If one is out of its range, or an address where only a local path serves.
    """
    config = command.load_config()
    types = get_type_hints(config)
    values = {field.name: as_typed(field.name, options[field.name], types[field.name]) for field in fields(config)}
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def with_dashes_undone(arguments: Sequence[str]) -> list[str]:
    """Lets people write --batch-size for the field batch_size."""
    return [_with_underscores(argument) for argument in arguments]


def with_name(arguments: Sequence[str], command: str, option: str) -> list[str]:
    """Lets people write ``mnad watch RUN`` for the option ``--run``, which a configuration file may give as well.

    Example:
        >>> with_name(["watch", "runs/one", "--source=0"], "watch", "run")
        ['watch', '--source=0', '--run', 'runs/one']
    """
    place = list(arguments).index(command) + 1
    if not option or place == len(arguments) or arguments[place].startswith("-"):
        return list(arguments)
    # Last, so that it counts and not what a configuration file says.
    return [*arguments[:place], *arguments[place + 1 :], f"--{option}", arguments[place]]


def with_brackets(arguments: Sequence[str], lists: set[str]) -> list[str]:
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


def _add_option(parser: ArgumentParser, field: Field[Any], kind: Any, help_text: str) -> None:
    flag = f"--{NAMES.get(field.name, field.name)}"
    default: dict[str, Any] = {"required": True} if field.default is MISSING else {"default": field.default}
    if field.default_factory is not MISSING:
        default = {"default": field.default_factory()}
    if isinstance(field.default, Path):
        default = {"default": str(field.default)}  # as what is given, see as_text
    if kind in (bool, bool | None):
        parser.add_argument(flag, dest=field.name, action=ActionYesNo, help=help_text, **default)
    elif kind == list[str]:
        parser.add_argument(
            flag, dest=field.name, type=str, action="append", metavar="NAME=ADDRESS", help=help_text, **default
        )
    elif kind == tuple[str, ...]:
        parser.add_argument(flag, dest=field.name, nargs="*", metavar="NAME=PATH", help=help_text, default=[])
    else:
        parser.add_argument(flag, dest=field.name, type=kind, help=help_text, **default)


def _own_first(config: Any) -> list[Field[Any]]:
    """Returns the fields, those of the class itself before those that it shares with others."""
    by_name = {field.name: field for field in fields(config)}
    order = dict.fromkeys(name for each in config.__mro__ for name in get_annotations(each))
    return [by_name[name] for name in order if name in by_name]


def _descriptions(config: type) -> dict[str, str]:
    """Returns the description of each field, from the docstrings of the class and of its bases."""
    found: dict[str, str] = {}
    for each in reversed(config.__mro__):
        parameters = parse_docstring(each.__doc__ or "").params
        found |= {part.arg_name: " ".join((part.description or "").split()) for part in parameters}
    return found


def _takes_several(kind: Any) -> bool:
    return kind != tuple[str, ...] and any(get_origin(part) is tuple for part in (kind, *get_args(kind)))


def _with_dashes(shown: str) -> str:
    return re.sub(r"--\w+", lambda option: option[0].replace("_", "-"), shown)


def _with_underscores(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _bracketed(value: str) -> str:
    return value if value.startswith("[") or value == "null" else f"[{value}]"
