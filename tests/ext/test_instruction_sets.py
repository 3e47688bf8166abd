"""The tests of the operators once more, by the CPU kernels of every instruction set that this processor has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mnad_ext

INFO = mnad_ext.build_info()
SETS = INFO["instruction_sets"].split()
# Sets come in the order of their width, and a processor with one has those before it.
OTHERS = SETS[: SETS.index(INFO["instruction_set_in_use"])]
HERE = Path(__file__).parent


@pytest.mark.skipif("MNAD_INSTRUCTION_SET" in os.environ, reason="one instruction set is asked for")
@pytest.mark.parametrize("instruction_set", OTHERS)
def test_operators(instruction_set: str) -> None:
    paths = [str(HERE / name) for name in ("test_operators.py", "test_properties.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not two_billion", *paths]
    environment = os.environ | {"MNAD_INSTRUCTION_SET": instruction_set, "MNAD_REQUIRE_CUDA": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-5000:]
    assert " passed" in result.stdout


@pytest.mark.parametrize("instruction_set", SETS[: len(OTHERS) + 1])
def test_an_instruction_set_can_be_named(instruction_set: str) -> None:
    result = _info(instruction_set)
    assert result.stdout.strip() == instruction_set


def test_an_unknown_instruction_set_is_refused() -> None:
    result = _info("altivec")
    assert result.returncode != 0
    assert "MNAD_INSTRUCTION_SET must be baseline, avx2 or avx512" in result.stderr


def _info(instruction_set: str) -> subprocess.CompletedProcess[str]:
    code = "import mnad_ext; print(mnad_ext.build_info()['instruction_set_in_use'])"
    environment = os.environ | {"MNAD_INSTRUCTION_SET": instruction_set}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
