"""The full-size runs on Ped2, here on the smallest data: stopped by the time, killed, gone on with, kept, scored."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.measurements import load_measurements
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import CheckpointError

EPOCHS = 4
TOY = ["--size", "32", "--width", "4", "--epochs", str(EPOCHS), "--precision", "32-true", "--no-compile"]
RUN = "prediction-seed1-float32"


@pytest.fixture
def ped2_gpu(bench: Path) -> ModuleType:
    return importlib.import_module("ped2_gpu")


def test_stopped_killed_and_gone_on_with(ped2_gpu: ModuleType, bench: Path, synthetic: Path, tmp_path: Path) -> None:
    out, results = tmp_path / "out", tmp_path / "results"
    call = [str(synthetic), str(out), "prediction", "reconstruction-no-memory", *TOY, "--results", str(results)]

    assert ped2_gpu.main([*call, "--minutes", "0.001"]) == 0
    first = load_checkpoint(out / RUN)
    assert first.step > 0
    assert first.epoch < EPOCHS
    summary = json.loads((results / "summary.json").read_text())
    assert [run["finished"] for run in summary["runs"]] == [False, False]

    _kill_after_an_epoch([sys.executable, str(bench / "ped2_gpu.py"), *call], out / RUN)
    assert not (out / RUN / "export").exists()

    assert ped2_gpu.main(call) == 0
    summary = json.loads((results / "summary.json").read_text())
    for run, finished in zip(summary["runs"], ["prediction", "reconstruction-no-memory"], strict=True):
        assert (run["model"], run["finished"], run["epochs_done"]) == (finished, True, EPOCHS)
        assert 0 < run["auc"] <= 1
        assert run["samples_per_second"] > 0
        assert run["last_epoch"]["step"] == EPOCHS
    assert summary["runs"][0]["lambda"] == 0.6
    assert summary["runs"][0]["best"]["note"] == "chosen on test"
    assert summary["runs"][0]["best"]["auc"] >= summary["runs"][0]["auc"]
    assert "best" not in summary["runs"][1]
    assert str(tmp_path) not in json.dumps(summary)
    _check_what_is_kept(results, out, synthetic)


def _kill_after_an_epoch(command: list[str], run: Path) -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and _epoch(run) == 0:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def _epoch(run: Path) -> int:
    try:
        return load_checkpoint(run).epoch
    except CheckpointError:
        return 0


def _check_what_is_kept(results: Path, out: Path, synthetic: Path) -> None:
    files = [path for path in results.rglob("*") if path.is_file()]
    assert len(files) <= 6
    assert all(path.stat().st_size <= 16 << 20 and len(path.relative_to(results).parts) <= 2 for path in files)
    with zipfile.ZipFile(results / "raw.zip") as archive:
        assert f"{RUN}/measurements.npz" in archive.namelist()
        assert f"{RUN}/curves/metrics.csv" in archive.namelist()
    scored = score(ScoreConfig(results / RUN, synthetic, accelerator="cpu"))
    with zipfile.ZipFile(results / "raw.zip") as archive:
        sent = load_measurements(Path(archive.extract(f"{RUN}/measurements.npz", out)))
    assert abs(load_measurements(scored).psnr - sent.psnr).max() < 0.1
    assert str(out) not in (results / RUN / "manifest.json").read_text()


def test_unknown_models_are_refused(ped2_gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ped2_gpu.main([str(tmp_path), str(tmp_path), "transformer"])
    assert "unknown models ['transformer']; there are prediction," in capsys.readouterr().err


def test_the_probe(bench: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = importlib.import_module("ped2_probe")
    ways = {"float32, eager": {}, "no such precision": {"precision": "32-true", "compile": True}}
    monkeypatch.setattr(probe, "WAYS", ways)
    monkeypatch.setattr(probe, "SCORING", [("32-true", 8), ("bf16", 4)])
    monkeypatch.setattr(probe.torch, "compile", _refuse)
    assert probe.main([str(synthetic), str(tmp_path), "--size", "32", "--width", "4", "--steps", "5"]) == 0
    found = json.loads((tmp_path / "probe.json").read_text())
    assert found["training"][probe.PLAIN]["samples_per_second"] > 0
    assert found["training"]["float32, eager"]["samples_per_second"] > 0
    assert found["training"]["no such precision"] == {"error": "no compiler"}
    assert [row["updated"] for row in found["scoring"].values()] == [1, 1]
    assert 0 < found["profile"]["share_of_the_memory"] < 1


def _refuse(*_: object, **__: object) -> None:
    raise RuntimeError("no compiler")
