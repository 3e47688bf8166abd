"""Damaged files of every kind end in a result or an error of ours, soon and without much memory."""

from __future__ import annotations

import os
import resource
import time
import warnings
from pathlib import Path

import pytest
from mnad.runtime.errors import MnadError

from tests.fuzz.damage import damaged
from tests.fuzz.kinds import KINDS, Kind

SEEDS = int(os.environ.get("MNAD_FUZZ_SEEDS", "1"))  # a factor for long runs by hand
FIRST_SEED = int(os.environ.get("MNAD_FUZZ_FIRST_SEED", "0"))
SECONDS = 10
MORE_MEMORY = 1 << 30  # bytes above what the whole file took


def test_the_kinds_are_two_thousand_files() -> None:
    assert sum(kind.count for kind in KINDS) >= 2000


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files(kind: Kind, tmp_path: Path) -> None:
    path = kind.make(tmp_path)
    kind.read(path)  # whole, it can be read
    whole, memory = path.read_bytes(), peak_memory()
    unnamed = 0
    outcomes = {"result": 0, "error": 0}
    for seed in range(FIRST_SEED, FIRST_SEED + kind.count * SEEDS):
        path.write_bytes(damaged(whole, seed))
        began = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                kind.read(path)
            outcomes["result"] += 1
        except MnadError as error:
            outcomes["error"] += 1
            unnamed += str(path.parent) not in str(error) and path.name not in str(error)
        except Exception as error:
            raise AssertionError(f"{kind.name}, seed {seed}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - began < SECONDS, f"seed {seed} took too long"
        assert peak_memory() - memory < MORE_MEMORY, f"seed {seed} took {peak_memory() - memory} bytes"
    assert outcomes["error"] > 0
    assert unnamed == 0, "an error does not name its file"


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
