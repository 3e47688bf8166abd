from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mnad
from mnad.runtime.provenance import source_commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def commit_of(folder: Path) -> str:
    """What a copy of the package in the folder says of itself."""
    code = "from mnad.runtime.provenance import source_commit; print(source_commit())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{folder}"},
        cwd="/",
    )
    return found.stdout.strip()


def test_a_tree_tells_its_commit_and_its_changes(tmp_path: Path) -> None:
    shutil.copytree(Path(mnad.__file__).parent, tmp_path / "mnad", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("a project that has the package installed within it")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-qm", "another project's")
    assert commit_of(tmp_path) == mnad.__version__

    git(tmp_path, "add", "mnad")
    git(tmp_path, "commit", "-qm", "ours")
    assert commit_of(tmp_path) == git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "mnad" / "runtime" / "devices.py").write_text("# changed\n")
    assert commit_of(tmp_path) == git(tmp_path, "rev-parse", "HEAD") + "-dirty"


def test_here() -> None:
    assert source_commit()
