"""Strangers' scenes, from a folder of clips to the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnad.data.composed import EVENTS
from mnad.evaluation import Scaling, abnormality, bounds_of, pooled_auc
from mnad.reproduction import ReproduceConfig, reproduce
from mnad.reproduction.runner import Runner
from mnad.reproduction.scale import SCALES, CameraScale
from mnad.reproduction.scenes import find_scenes, measured
from mnad.reproduction.strangers import LEFT_OUT, SCORES, WANTED, left_out_rows
from mnad.runtime.errors import ConfigError, DataError

from tests.data.field import write_video
from tests.reproduction.torchrun import share

TINY = replace(SCALES["small"], camera=CameraScale(size=32, width=4, windows=400, learning_rate=2e-3))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two cameras' videos and a note."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("hall", "yard")):
        random = np.random.default_rng(number)
        frames = np.repeat(random.integers(0, 120, (1, 64, 64, 3), np.uint8), 260, axis=0)
        for index, frame in enumerate(frames):
            frame[20:36, (3 * index) % 56 :][:, :8] = 130
        write_video(folder / f"{name}.mp4", list(frames))
    (folder / "README.md").write_text("two cameras")
    return folder


@pytest.fixture(scope="module")
def table(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("strangers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCALES, "small", TINY)
        reproduce(ReproduceConfig("strangers", out, (f"strangers={clips}",), "small", accelerator="cpu"))
    return out


def test_every_score_is_tabulated_for_every_scene(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((table / "strangers" / "table.json").read_text())
    scenes = ("hall", "yard", "synthetic")
    assert [(row["scene"], row["score"]) for row in result["rows"]] == [
        *((scene, score) for scene in scenes for score in SCORES),
        *((scene, score) for score in LEFT_OUT for scene in scenes),
        *(("mean", score) for score in (*SCORES, *LEFT_OUT)),
    ]
    assert result["provenance"]["scale"].startswith("small scale: 32 x 32, width 4")
    composed = [row for row in result["rows"] if row["scene"] in ("hall", "yard") and row["score"] in SCORES]
    for row in composed:
        assert (row["events"], row["normal frames"]) == (8, 61)
        assert 0 <= row["found"] <= 8
        assert all(row[str(event)] is None or 0 <= row[str(event)] <= 100 for event in EVENTS)
        # Of a score of the whole frame in which D counts no map tells where it comes from.
        assert (row.get("pixel AUC") is None) == (row["score"] in ("published", "D of the frame"))
        assert row.get("pixel AUC", 100) > 50
    by_score = {score: [row for row in composed if row["score"] == score] for score in SCORES}
    for row in result["rows"][-len(SCORES) - len(LEFT_OUT) : -len(LEFT_OUT)]:
        assert row["AUC"] == pytest.approx(np.mean([each["AUC"] for each in by_score[row["score"]]]))


def test_the_table_is_of_scores_scaled_by_held_out_video(
    table: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCALES, "small", TINY)
    runner = Runner(table, {"strangers": clips}, TINY, accelerator="cpu")
    before = {path: path.stat().st_mtime_ns for path in table.rglob("*.npz")}
    scene = find_scenes(runner)[0]
    found = measured(runner, scene, 0)
    assert before == {path: path.stat().st_mtime_ns for path in table.rglob("*.npz")}  # nothing is done twice
    rows = {
        row["score"]: row
        for row in json.loads((table / "strangers" / "table.json").read_text())["rows"]
        if row["scene"] == "hall"
    }
    published = abnormality(found.test, 0.6, Scaling("calibrated", bounds_of(found.held_out)))
    assert rows["published"]["AUC"] == pytest.approx(100 * pooled_auc(found.test, published))
    assert found.held_out.protocol["usual"] == found.test.protocol["usual"]


PROGRAM = """
import sys
from pathlib import Path
from mnad.reproduction import ReproduceConfig, reproduce
from mnad.reproduction.scale import SCALES
from tests.reproduction.test_strangers import TINY
SCALES["small"] = TINY
clips, out = map(Path, sys.argv[1:])
config = ReproduceConfig("strangers", out, (f"strangers={clips}",), "small", accelerator="cpu")
print("results:", len(reproduce(config)))
"""


def test_two_processes_of_torchrun_share_the_scenes(table: Path, clips: Path, tmp_path: Path) -> None:
    program, out = tmp_path / "program.py", tmp_path / "out"
    program.write_text(PROGRAM)
    lines = share([str(part) for part in (program, clips, out)])
    for work in ("training: ", "measuring: "):
        done = [line for line in lines if line.startswith(work)]
        assert len(done) == len(set(done)) == 3  # each by one of them
    tables = [json.loads((folder / "strangers" / "table.json").read_text())["rows"] for folder in (table, out)]
    assert [row["scene"] for row in tables[0]] == [row["scene"] for row in tables[1]]


def test_what_is_chosen_is_chosen_without_the_scene_that_it_is_shown_on() -> None:
    best = {"a": "box-3", "b": "box-9", "c": "box-9"}
    aucs = {
        scene: {choice: {"AUC": 50.0, WANTED: 95.0 if choice == own else 90.0} for choice in ("mean", "box-3", "box-9")}
        for scene, own in best.items()
    }
    aucs["c"] = {choice: {"AUC": each[WANTED]} for choice, each in aucs["c"].items()}  # without composed events
    rows = left_out_rows("chosen elsewhere", aucs)
    assert [(row["scene"], row["chosen"]) for row in rows] == [("a", "box-9"), ("b", "box-3"), ("c", "box-3")]
    assert rows[0] == {"scene": "a", "score": "chosen elsewhere", "AUC": 50.0, WANTED: 90.0, "chosen": "box-9"}
    assert rows[2] == {"scene": "c", "score": "chosen elsewhere", "AUC": 90.0, "chosen": "box-3"}
    assert left_out_rows("chosen elsewhere", {"a": aucs["a"]}) == []


def test_what_is_no_folder_of_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCALES, "small", TINY)
    (tmp_path / "empty").mkdir()
    for folder, message in {"gone": "must be a folder of clips", "empty": "there is no video in"}.items():
        with pytest.raises(DataError, match=message):
            reproduce(ReproduceConfig("strangers", tmp_path / "out", (f"strangers={tmp_path / folder}",), "small"))
    with pytest.raises(ConfigError, match="NAME one of ped2, avenue, shanghaitech, strangers"):
        ReproduceConfig("strangers", tmp_path, ("clips=here",))
