"""What the operators do where torch lacks a private name that they use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mnad_ext.ops import _torch_internals as internals

ROOT = Path(__file__).parents[2]
TESTS = ["test_registration.py", "test_memory_checkpointing.py", "test_memory_in_place.py"]
# Where torch.compile recomputes the copy of the items in the backward pass, it raises, as the helper's words say.
SELECTED = "not compiled-True and not forward-True"


def test_this_torch_has_them_all() -> None:
    assert internals.HAS_BELOW_AUTOGRAD
    assert internals.HAS_FORWARD_LEVEL
    assert internals.HAS_VERSION
    assert internals.HAS_EXPORTING_FLAG


def test_without_them_the_operators_pass_their_own_tests() -> None:
    """Gradients, opcheck, torch.compile, autocast, forward mode, checkpointing: in a process that lacks the names."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.ext.lacking_internals"]
    paths = [str(ROOT / "tests" / "ext" / name) for name in TESTS]
    result = subprocess.run([*command, "-k", SELECTED, *paths], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-5000:]
