"""Runs on Ped2 that fail, hang or are killed after training: nothing that was trained is lost, errors are named."""

from __future__ import annotations

import importlib
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
from mnad.artifacts.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnad.models import Autoencoder, ModelConfig
from mnad.reproduction import deadline, runner

from .rehearsal import Played, play

BENCH = Path(__file__).parents[2] / "bench"
TOY = ["--size", "32", "--width", "4", "--epochs", "1", "--precision", "32-true", "--no-compile"]
RUN = "prediction-seed1-float32"


@pytest.fixture
def ped2_gpu(bench: Path) -> ModuleType:
    return importlib.import_module("ped2_gpu")


@pytest.fixture(scope="module")
def trained_out(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a call whose scoring failed; OUT/before holds the results as they were when that began."""
    out = tmp_path_factory.mktemp("trained") / "out"

    def score(*_: object, **__: object) -> NoReturn:
        shutil.copytree(out / "results", out / "before")
        _fail()

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        module = importlib.import_module("ped2_gpu")
        patch.setattr(runner, "score", score)
        assert module.main([str(synthetic), str(out), *TOY]) == 1
    return out


@pytest.fixture
def out(trained_out: Path, tmp_path: Path) -> Path:
    """A copy of it, for a call that goes on from there."""
    return shutil.copytree(trained_out, tmp_path / "out")


def _fail(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("it broke")


def _hang(*_: object, **__: object) -> None:
    time.sleep(60)


def summary_of(results: Path) -> dict[str, Any]:
    (run,) = json.loads((results / "summary.json").read_text())["runs"]
    return run


def check_training_is_kept(results: Path) -> None:
    assert load_checkpoint(results / RUN).epoch == 1
    with zipfile.ZipFile(results / "raw.zip") as archive:
        assert f"{RUN}/curves/metrics.csv" in archive.namelist()


def test_scoring_fails_after_training(trained_out: Path) -> None:
    run = summary_of(trained_out / "results")
    assert run["error"] == "scoring: RuntimeError('it broke')"
    assert (run["epochs_done"], run["finished"]) == (1, False)
    check_training_is_kept(trained_out / "results")


def test_what_is_killed_in_scoring_has_left_its_results(trained_out: Path) -> None:
    assert summary_of(trained_out / "before")["doing"] == "scoring"
    assert "doing" not in summary_of(trained_out / "results")
    check_training_is_kept(trained_out / "before")


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("evaluate", "evaluating: RuntimeError('it broke')"),
        ("export_checkpoint", "exporting: RuntimeError('it broke')"),
    ],
)
def test_what_follows_scoring_fails(
    broken: str, error: str, ped2_gpu: ModuleType, out: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = [str(synthetic), str(out), *TOY]
    with monkeypatch.context() as patch:
        patch.setattr(ped2_gpu, broken, _fail)
        assert ped2_gpu.main(call) == 1
    assert summary_of(out / "results")["error"] == error
    assert summary_of(out / "results")["finished"]
    check_training_is_kept(out / "results")

    assert ped2_gpu.main(call) == 0
    assert summary_of(out / "results").keys() & {"error", "auc"} == {"auc"}


@pytest.mark.parametrize(
    ("phase", "said"), [("score", "stopped"), ("evaluate", "error"), ("export_checkpoint", "error")]
)
def test_time_runs_out_after_training(
    phase: str, said: str, ped2_gpu: ModuleType, out: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner if phase == "score" else ped2_gpu, phase, _hang)
    monkeypatch.setattr(ped2_gpu, "WRITING", 0.3)
    began = time.monotonic()
    code = ped2_gpu.main([str(synthetic), str(out), *TOY, "--minutes", "0.02" if phase == "score" else "1"])
    assert time.monotonic() - began < 10
    assert code == int(said == "error")
    what = {"score": "scoring", "evaluate": "evaluating", "export_checkpoint": "exporting"}[phase]
    assert summary_of(out / "results")[said].startswith(what)
    assert "the time is up" in summary_of(out / "results")[said]
    check_training_is_kept(out / "results")


@pytest.mark.parametrize("phase", ["train", "unpack"])
def test_time_runs_out_before_anything_is_trained(
    phase: str, ped2_gpu: ModuleType, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner if phase == "train" else ped2_gpu, phase, _hang)
    monkeypatch.setattr(deadline, "GRACE", 0.3)
    data = synthetic if phase == "train" else tmp_path / "data.tar"
    assert ped2_gpu.main([str(data), str(tmp_path / "out"), *TOY, "--minutes", "0.01"]) == 0
    run = summary_of(tmp_path / "out" / "results")
    assert run["stopped"].startswith(
        {"train": "training: the time is up", "unpack": "unpacking: the time is up"}[phase]
    )
    assert (run["epochs_done"], run["finished"]) == (0, False)


def test_training_fails_and_the_next_model_goes_on(ped2_gpu: ModuleType, synthetic: Path, tmp_path: Path) -> None:
    models = ["prediction-no-memory", "prediction"]
    broken = tmp_path / "out" / "prediction-no-memory-seed1-float32"
    broken.mkdir(parents=True)
    (broken / "checkpoint.safetensors").write_bytes(b"not one")
    assert ped2_gpu.main([str(synthetic), str(tmp_path / "out"), *models, *TOY]) == 1
    first, second = json.loads((tmp_path / "out" / "summary.json").read_text())["runs"]
    assert first["error"].startswith(("training: CheckpointError", "exporting: CheckpointError"))
    assert second["finished"]


def test_an_interrupted_call(
    ped2_gpu: ModuleType, out: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "score", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ped2_gpu.main([str(synthetic), str(out), *TOY, "--results", str(results)])
    assert summary_of(results)["error"] == "scoring: KeyboardInterrupt()"
    check_training_is_kept(results)


@pytest.mark.parametrize(
    ("noted", "error"),
    [
        ({"doing": "scoring"}, "scoring: status 137"),
        ({"error": "scoring: KeyboardInterrupt()"}, "scoring: KeyboardInterrupt()"),
        ({}, "status 137"),
    ],
)
def test_a_killed_call_is_told_of_by_the_next_one(
    noted: dict[str, str], error: str, ped2_gpu: ModuleType, out: Path, synthetic: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    (out / "summary.json").write_text(json.dumps({"runs": [{"name": RUN} | noted]}))
    call = [str(synthetic), str(out), *TOY, "--results", str(results)]
    assert ped2_gpu.main([*call, "--rescue", "status 137"]) == 1
    assert summary_of(results)["error"] == error
    check_training_is_kept(results)


def test_the_weights_at_full_size_are_few_small_files(ped2_gpu: ModuleType, tmp_path: Path) -> None:
    model = Autoencoder(ModelConfig())
    stored = Checkpoint(model.config, model.state_dict(), {}, 60, 37260, optimizer=None)
    save_checkpoint(tmp_path / "run" / "checkpoint.safetensors", stored)
    assert ped2_gpu.export(tmp_path / "run", tmp_path / "results") == ""
    files = list((tmp_path / "results").iterdir())
    assert len(files) <= 8 - len(["summary.json", "raw.zip", "build.log"])
    assert all(path.stat().st_size <= 16 << 20 for path in files)
    assert load_checkpoint(tmp_path / "results").epoch == 60


# ---- the command ----


def rehearse(tmp_path: Path, plays: str, *options: str) -> Played:
    command = [str(BENCH / "ped2_gpu.sh"), "data.tar", str(tmp_path / "runs"), "--results", str(tmp_path / "out")]
    return play([*command, *options], tmp_path, plays)


def written(played: Played) -> dict[str, Any]:
    return json.loads((played.out / "summary.json").read_text())


def test_a_build_that_fails(tmp_path: Path) -> None:
    played = rehearse(tmp_path, "usable=fail build=fail")
    assert played.code == 1
    assert written(played) == {"error": "the extension could not be built, see build.log", "runs": []}
    assert (played.out / "build.log").read_text() == "it went wrong\n"


def test_all_of_the_time_goes_to_training_and_scoring(tmp_path: Path) -> None:
    played = rehearse(tmp_path, "usable=fail")
    assert [call.split(":")[0] for call in played.calls] == ["usable", "build", "work"]
    # Of 7.1 minutes, the last half minute is kept to write down what may be left by then.
    assert 6.4 < float(played.calls[-1].split("--minutes ")[1]) < 6.7


# How calls of so many minutes are played, at the same time, and their exit status.
MINUTES = 0.15
PLAYS = {"work=hang": 137, "work=slow": 124, "work=hang rescue=hang": 137, "usable=hang build=hang": 1}


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Played]]]:
    folders = {plays: tmp_path_factory.mktemp("hanging") for plays in PLAYS}
    with ThreadPoolExecutor(len(PLAYS)) as pool:
        yield {plays: pool.submit(rehearse, folders[plays], plays, "--minutes", str(MINUTES)) for plays in PLAYS}


@pytest.mark.parametrize("plays", PLAYS)
def test_a_call_ends_in_time(plays: str, hanging: dict[str, Future[Played]]) -> None:
    played = hanging[plays].result()
    assert played.code == PLAYS[plays]
    assert played.seconds < 60 * MINUTES + 1
    assert played.survivors == []
    if "build" in plays:
        assert written(played)["error"].startswith("the extension could not be built")
    else:
        assert played.calls[-1].endswith(f"--rescue status {played.code}")
        assert written(played) == {"rescued": True}


def test_work_that_is_killed_is_rescued_at_once(tmp_path: Path) -> None:
    played = rehearse(tmp_path, "work=killed")
    assert played.code == 137
    assert played.calls[-1].endswith("--rescue status 137")
    assert written(played) == {"rescued": True}


def test_what_cannot_be_rescued_is_told_of(tmp_path: Path) -> None:
    played = rehearse(tmp_path, "work=killed rescue=lost")
    assert played.code == 137
    assert written(played) == {"error": "training and scoring ended with status 137", "runs": []}


def test_python_does_not_start(tmp_path: Path) -> None:
    played = rehearse(tmp_path, "work=fail")
    assert played.code == 3
    assert written(played) == {"error": "training and scoring ended with status 3", "runs": []}
