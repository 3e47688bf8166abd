"""The command ``mnad``: one table of subcommands in :mod:`mnad.cli.commands`."""

from mnad.cli.commands import COMMANDS
from mnad.cli.program import main

__all__ = ["COMMANDS", "main"]
