"""Where the running code comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mnad import __version__


def source_commit() -> str:
    """Gives the git commit of the source tree that runs, with ``-dirty`` where tracked files differ from it.

    Returns:
        The commit; the package's version where it runs from no git tree of its own.
    """
    try:
        # Without this the commit of a project that has the package installed within it would be taken for ours.
        _git("ls-files", "--error-unmatch", "__init__.py")
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (FileNotFoundError, subprocess.CalledProcessError):
        return __version__


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
