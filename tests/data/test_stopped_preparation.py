"""A preparation that is stopped or killed goes on where it was, and two at once make one store."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from mnad.data import PrepareConfig, open_store, prepare
from mnad.runtime.errors import Interrupted

from tests.data import trees
from tests.data.test_preparation import checksums
from tests.data.trees import make_clip


@pytest.fixture(scope="module")
def slow_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that takes about a second."""
    root = tmp_path_factory.mktemp("slow") / "set"
    clips = {f"{index:02d}": make_clip(40, index, events=[(3, 5)]) for index in range(24)}
    trees.write_frames_layout(root, clips, dict(list(clips.items())[:4]), masks=True)
    return root


@pytest.fixture(scope="module")
def slow_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in video files, whose frames are only counted when they are decoded."""
    root = tmp_path_factory.mktemp("slow") / "videos"
    for index in range(16):
        trees.write_video(root / f"normal/{index:02d}.avi", make_clip(90, index).frames)
    return root


def records(folder: Path) -> list[Path]:
    """What says of the videos of an unfinished store that they are finished."""
    return list(folder.glob(".store.partial/parts/*/*.json"))


@pytest.mark.parametrize("kind", ["slow_set", "slow_videos"])
def test_killed_at_random_moments_it_goes_on(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    slow_set: Path = request.getfixturevalue(kind)
    undisturbed = prepare(PrepareConfig(slow_set, tmp_path / "undisturbed", workers=1), progress=False)
    out = tmp_path / "store"
    program = f"""
from pathlib import Path
from mnad.data import PrepareConfig, prepare
print("ready", flush=True)
prepare(PrepareConfig(Path({str(slow_set)!r}), Path({str(out)!r}), workers=1), progress=False)
"""
    moments = random.Random(0)
    finished_parts = [0]
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            wanted, deadline = finished_parts[-1] + moments.randrange(3), time.monotonic() + 60
            while len(records(tmp_path)) < wanted and not out.exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(moments.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
        finished = len(records(tmp_path))
        assert finished >= finished_parts[-1] or out.exists()
        finished_parts.append(finished)
    assert len(set(finished_parts)) > 2  # it was killed in the middle, more than once
    store = prepare(PrepareConfig(slow_set, out, workers=1), progress=False)
    assert checksums(store) == checksums(undisturbed)
    assert list(store.problems()) == []
    for path in out.rglob("*.npy"):
        assert path.read_bytes() == (tmp_path / "undisturbed" / path.relative_to(out)).read_bytes()


def test_finished_videos_are_not_decoded_again(slow_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnad.data import parts

    made: list[str] = []
    make = parts.PartMaker.make

    def counted(self: parts.PartMaker, video: object, *rest: object) -> parts.Part:
        made.append(video.name)  # type: ignore[attr-defined]
        if made.count("05") == 1 and video.name == "05":  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return make(self, video, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(parts.PartMaker, "make", counted)
    config = PrepareConfig(slow_set, tmp_path / "store", size=32, workers=1)
    with pytest.raises(BaseException, match="the same command goes on where it was"):
        prepare(config, ["training"], progress=False)
    begun = len(made)
    assert made[:6] == [f"{index:02d}" for index in range(6)]
    store = prepare(config, ["training"], progress=False)
    assert made[begun] == "05"
    assert not set(made[begun:]) & set(made[:5])
    assert store.splits["training"].frames == 24 * 40


def stop_before_the_folder_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "rmdir", Mock(side_effect=KeyboardInterrupt))


def stop_when_the_folder_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    remove = Path.rmdir

    def stop(folder: Path) -> None:
        remove(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rmdir", stop)


def stop_amid_the_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    remove = shutil.rmtree

    def stop(folder: Path, **options: bool) -> None:
        if not (folder / "parts").exists():
            return remove(folder, **options)
        remove(folder / "parts")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", stop)


@pytest.mark.parametrize("kind", ["slow_set", "slow_videos"])
@pytest.mark.parametrize("stop", [stop_before_the_folder_is_free, stop_when_the_folder_is_free, stop_amid_the_removal])
def test_stopped_at_its_end_it_goes_on(
    kind: str,
    stop: Callable[[pytest.MonkeyPatch], None],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = PrepareConfig(request.getfixturevalue(kind), tmp_path / "store", size=32)
    config.store.mkdir()
    with monkeypatch.context() as patch:
        stop(patch)
        with pytest.raises(Interrupted, match="the same command goes on where it was"):
            prepare(config, progress=False)
    store = prepare(config, progress=False)
    assert list(store.problems()) == []
    assert checksums(store) == checksums(prepare(replace(config, out=tmp_path / "undisturbed"), progress=False))
    assert {path.name for path in tmp_path.iterdir()} == {"store", "undisturbed"}


def test_another_plan_begins_anew(slow_set: Path, tmp_path: Path) -> None:
    partial = tmp_path / ".store.partial"
    (partial / "store").mkdir(parents=True)
    (partial / "parts/training").mkdir(parents=True)
    (partial / "plan.json").write_text('{"size": 8}')
    (partial / "parts/training/00000.json").write_text("{}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = prepare(PrepareConfig(slow_set, tmp_path / "store", size=32), progress=False)
    assert store.splits["training"].frames == 24 * 40


def test_two_processes_make_one_store(slow_set: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnad.cli", "prepare", str(slow_set), "--out", str(tmp_path / "store")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert list(open_store(tmp_path / "store").problems()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "store.log"]
