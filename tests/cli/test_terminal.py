"""The commands at a real terminal, where bars are drawn that no pipe ever sees."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

COMMANDS = [
    "inspect data",
    "prepare data --out store --size 32",
    "train --data data --out run --size 32 --width 4 --epochs 1 --hold-out 0.25 --accelerator cpu",
    "calibrate run --data data --fps 25 --false-alarms-per-hour 3600 --accelerator cpu",
    "score run --data data --maps --accelerator cpu",
    "score run --data data --split training --accelerator cpu",
    "evaluate run --threshold calibrated --bootstrap 10",
    "plots run --data data --frames 20",
    "report run",
    "overlay run --out videos",
]
RUN = """
import sys
from mnad.cli import main
for command in sys.argv[1:]:
    print("$ mnad", command, flush=True)
    if status := main(command.split()):
        sys.exit(status)
"""


def test_every_command_that_shows_how_far_it_is(synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(synthetic)
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", RUN, *COMMANDS],
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = _everything(controller)
    assert process.returncode == 0, shown[-3000:]
    assert "scoring frames" in shown
    assert "━" in shown


def _everything(controller: int) -> str:
    """Reads a terminal until the program at it ends."""
    parts = []
    while True:
        try:
            part = os.read(controller, 1 << 16)
        except OSError:  # so Linux says that nobody holds the other end
            part = b""
        if not part:
            os.close(controller)
            return b"".join(parts).decode()
        parts.append(part)
