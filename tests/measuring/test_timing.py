"""Which runtime is the fastest: the command, and the advice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mnad.cli import main
from mnad.measuring.timing import RuntimeTiming, advice
from mnad.pipeline.bench import BenchConfig
from mnad.runtime.errors import ConfigError


def test_the_command_times_each_runtime(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(trained), "--batches", "1,2", "--seconds", "0.05", "--json"]) in (0, None)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["runtime"], row["batch"]) for row in rows] == [
        (runtime, batch) for batch in (1, 2) for runtime in ("torch", "openvino", "onnxruntime")
    ]
    assert all(row["frames_per_second"] > 0 and row["psnr_difference"] < 1e-4 for row in rows)


def test_what_is_not_installed_is_left_out_and_told(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    arguments = ["bench", str(trained), "--batches", "1", "--seconds", "0.05"]
    assert main(arguments) in (0, None)
    printed = capsys.readouterr()
    assert "left out: openvino cannot be imported" in printed.err
    assert "pip install 'mnad-ext[onnxruntime]'" in printed.err
    assert "for mnad watch take torch, the default" in printed.out
    assert main([*arguments, "--json"]) in (0, None)
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_only_what_is_clearly_faster_is_advised() -> None:
    speeds = {("torch", 1): 100.0, ("openvino", 1): 150.0, ("torch", 8): 100.0, ("openvino", 8): 110.0}
    timings = [RuntimeTiming(name, batch, speed, 0.0) for (name, batch), speed in speeds.items()]  # type: ignore[arg-type]
    assert advice(timings) == (
        "for mnad watch take --runtime openvino (1.5 times as fast); for mnad score take torch, the default"
    )


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="batches must be numbers of at least 1"):
        BenchConfig(Path("run"), (0,))
    with pytest.raises(ConfigError, match="seconds must be positive"):
        BenchConfig(Path("run"), seconds=0)
