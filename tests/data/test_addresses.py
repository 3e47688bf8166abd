"""Videos at addresses, read from a real S3 server and a real web server as from a disk; and results written there."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.measurements import ARRAYS, Measurements, load_measurements
from mnad.cli import main
from mnad.data.inspection import inspect
from mnad.data.layouts import LAYOUTS, find_layout
from mnad.data.preparation import find_splits
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import ConfigError, DataError, MnadError, OutputError
from mnad.runtime.files import atomic_write, writable_folder
from mnad.runtime.places import Place, place
from mnad.training import TrainConfig, train

from tests.data.trees import make_clip, write_images, write_video
from tests.servers import Bucket, Web
from tests.sizes import TINY


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test an empty cache."""
    monkeypatch.setenv("MNAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """One's own videos, with labels beside them."""
    folder = tmp_path / "own"
    for seed, name in enumerate(["normal/monday", "night/tuesday", "wednesday 1"]):
        write_video(folder / f"{name}.avi", make_clip(12, seed).frames)
    (folder / "labels.csv").write_text("video,first,last\nnight/tuesday,8,10\n")
    (folder / "notes.txt").write_text("of no use")
    return folder


def names_of(data: Place) -> list[str]:
    return [video.name for split in find_splits(data, ["testing"]).splits for video in split.videos]


def same(first: Measurements, second: Measurements) -> bool:
    arrays = (*ARRAYS, "labels")
    equal = [np.array_equal(getattr(first, name), getattr(second, name), equal_nan=name != "labels") for name in arrays]
    return first.videos == second.videos and all(equal)


def test_scores_of_videos_on_s3_are_those_of_local_ones(
    trained: Path, own: Path, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put_folder(own, "cams/gate/")
    local = score(ScoreConfig(trained, own, out=tmp_path / "local.npz", accelerator="cpu"))

    out = f"{bucket.address}/results/a.npz"
    remote = f"{bucket.address}/cams/gate"
    assert main(["score", str(trained), "--data", remote, "--out", out, "--accelerator", "cpu"]) == 0
    assert f"left out of {remote}: 1 .txt (notes.txt)" in capsys.readouterr().out
    expected, found = load_measurements(local), load_measurements(place(out))
    assert same(expected, found)
    assert found.labels is not None
    assert found.labels.sum() == 3
    assert bucket.keys()[-2:] == ["results/a.log", "results/a.npz"]
    assert b"labels: labels.csv" in bucket.get("results/a.log")

    outcomes = [evaluate_run(EvaluateConfig(where)) for where in (local, place(out))]
    assert np.array_equal(outcomes[0].scores, outcomes[1].scores)


def test_a_model_of_videos_on_s3_is_that_of_local_ones(own: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_folder(own)
    runs = []
    for name, data in {"local": own, "remote": place(bucket.address)}.items():
        runs.append(tmp_path / name)
        train(TrainConfig(data, runs[-1], epochs=1, **TINY))
        calibrate(CalibrateConfig(runs[-1], data, (36000,), fps=25, whole=True, accelerator="cpu"))
    local, remote = (load_checkpoint(run) for run in runs)
    assert all(torch.equal(value, remote.weights[name]) for name, value in local.weights.items())
    assert remote.training["data"] == remote.calibration["data"] == f"{bucket.address}/"
    assert list((tmp_path / "cache").glob(f"{bucket.name}-training-*"))
    assert remote.calibration["thresholds"] == local.calibration["thresholds"]


def test_a_second_run_downloads_nothing(trained: Path, own: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_folder(own)
    for name in ("one", "two"):  # with a folder of its own for clip stores each decodes anew
        out = tmp_path / f"{name}.npz"
        score(ScoreConfig(trained, place(bucket.address), out=out, cache=tmp_path / name, accelerator="cpu"))
    assert same(load_measurements(tmp_path / "one.npz"), load_measurements(tmp_path / "two.npz"))
    assert bucket.downloads("night/") == bucket.downloads("wednesday") == 1
    assert bucket.downloads("normal/") == 0


def test_an_archive_is_listed_by_few_requests(bucket: Bucket) -> None:
    for number in range(150):
        bucket.put(f"videos/{'normal' if number % 3 else 'testing'}/{number}.mp4", b"no video, but of that name")
    bucket.put("videos/normal/", b"")  # as the web page of S3 marks a folder
    before = len(bucket.server.requests(bucket.name))
    found = find_splits(place(f"{bucket.address}/videos"), ["training", "testing"])
    assert [len(split.videos) for split in found.splits] == [100, 50]
    assert found.fingerprint
    assert LAYOUTS["videos"].passed_over(place(f"{bucket.address}/videos"), found.splits) is None
    assert len(bucket.server.requests(bucket.name)) - before < 40

    again = find_splits(place(f"{bucket.address}/videos"), ["training", "testing"])
    assert again.fingerprint == found.fingerprint
    bucket.put("videos/testing/0.mp4", b"another")
    changed = find_splits(place(f"{bucket.address}/videos"), ["training", "testing"])
    assert changed.fingerprint != found.fingerprint


def test_what_lies_on_a_web_server(own: Path, web: Web) -> None:
    write_video(own / "week 1" / "thursday 100%.avi", make_clip(12, 3).frames)
    np.save(own / "week 1" / "thursday 100%.npy", np.arange(12) > 5)
    for name in ("labels.csv", "wednesday 1.avi", "night/tuesday.avi"):
        (own / name).unlink()
    own.rename(web.root / "own videos")
    remote, local = place(f"{web.address}/own videos"), web.root / "own videos"
    found = inspect(remote, progress=False)
    assert found.usable
    assert [(split.name, split.videos, split.frames) for split in found.splits] == [
        ("training", 1, 12),
        ("testing", 1, 12),
    ]
    assert [labels.abnormal for labels in found.splits[1].labels] == [6]
    assert names_of(remote) == names_of(local) == ["week 1/thursday 100%"]
    single = inspect(place(f"{web.address}/own videos/normal/monday.avi"), progress=False)
    assert [(split.videos, split.frames) for split in single.splits] == [(1, 12)]
    write_video(local / "friday.avi", make_clip(12, 4).frames)
    np.save(local / "friday.npy", np.arange(12) > 5)
    assert names_of(remote) == names_of(local) == ["friday", "week 1/thursday 100%"]
    assert not [line for line in web.requests if line.startswith(("PUT", "POST"))]


def test_links_of_a_page_that_lead_elsewhere_are_no_videos(web: Web) -> None:
    write_video(web.root / "videos" / "a.avi", make_clip(4, 0).frames)
    links = ["?C=N;O=D.avi", "../", "../b.avi", "/c.avi", "http://127.0.0.1:9/d.avi", "a.avi"]
    (web.root / "videos" / "index.html").write_text("".join(f'<a href="{link}">{link}</a>' for link in links))
    assert names_of(place(f"{web.address}/videos/")) == names_of(place(f"{web.address}/videos")) == ["a"]


def test_a_video_that_is_sent_elsewhere_is_the_one_that_was_listed(own: Path, bucket: Bucket) -> None:
    bucket.put_folder(own)
    [split] = find_splits(place(bucket.address), ["testing"]).splits
    program = """
import pickle, sys
from mnad.runtime.errors import DataError
video = pickle.load(sys.stdin.buffer)
try:
    print(sum(1 for _ in video.frames.read(3)))
except DataError as error:
    print(error)
"""

    def elsewhere(folder: str) -> str:
        environment = {**os.environ, "MNAD_CACHE": folder}
        command = [sys.executable, "-c", program]
        run = subprocess.run(
            command, input=pickle.dumps(split.videos[0]), capture_output=True, check=True, env=environment
        )
        return run.stdout.decode().strip()

    assert split.videos[0].name == "wednesday 1"
    assert elsewhere(f"{own}/cache1") == "12"
    bucket.put("wednesday 1.avi", (own / "normal" / "monday.avi").read_bytes())
    assert elsewhere(f"{own}/cache1") == "12"  # it has the one that was listed
    assert f"{bucket.address}/wednesday 1.avi has changed on its server" in elsewhere(f"{own}/cache2")


def test_nothing_is_downloaded_for_a_progress_bar(own: Path, bucket: Bucket) -> None:
    bucket.put_folder(own)
    [split] = find_splits(place(bucket.address), ["testing"]).splits
    assert [video.frames.expected() for video in split.videos] == [0, 0]
    assert bucket.downloads("wednesday") == bucket.downloads("night/") == 0
    assert sum(1 for _ in split.videos[0].frames.read(1)) == 12
    assert [video.frames.expected() for video in split.videos] == [12, 0]


def test_results_are_whole_or_not_there(bucket: Bucket) -> None:
    out = place(f"{bucket.address}/results/one.txt")
    with atomic_write(out) as temporary:
        temporary.write_text("first")
    writing = atomic_write(out)
    writing.__enter__().write_text("half")
    assert writing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None) is not True
    assert bucket.get("results/one.txt") == b"first"
    writable_folder(out.parent)
    assert bucket.keys() == ["results/one.txt"]


ERRORS: dict[str, tuple[type[MnadError], str, Callable[[Bucket, Web], Any]]] = {
    "no such bucket": (
        DataError,
        "cannot look at s3://mnad-no-such-bucket/a: The specified bucket does not exist",
        lambda bucket, _: find_layout(place("s3://mnad-no-such-bucket/a")),
    ),
    "an empty prefix": (
        DataError,
        "there is nothing at s3://bucket-.*/nowhere",
        lambda bucket, _: find_layout(place(f"{bucket.address}/nowhere")),
    ),
    "no such page": (
        DataError,
        "there is nothing at http",
        lambda _, web: find_layout(place(f"{web.address}/none.mp4")),
    ),
    "no such server": (
        DataError,
        "cannot look at http://127.0.0.1:9/a.mp4: Connect call failed",
        lambda *_: find_layout(place("http://127.0.0.1:9/a.mp4")),
    ),
    "no such kind": (ConfigError, "carrier:// is no kind of address", lambda *_: place("carrier://pigeon/a.mp4")),
    "a query": (ConfigError, "must end with its name", lambda *_: place("http://server/a.mp4?token=secret")),
    "another layout": (
        ConfigError,
        "layout must be one of",
        lambda bucket, _: find_layout(place(bucket.address), "none"),  # type: ignore[arg-type]
    ),
    "results to no bucket": (
        OutputError,
        "cannot write to s3://mnad-no-such-bucket/results: The specified bucket does not exist",
        lambda *_: writable_folder(place("s3://mnad-no-such-bucket/results")),
    ),
    "results to the web": (
        OutputError,
        "http:// can only be read",
        lambda _, web: writable_folder(place(f"{web.address}/results")),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_is_wrong(name: str, bucket: Bucket, web: Web) -> None:
    kind, words, act = ERRORS[name]
    with pytest.raises(kind, match=words):
        act(bucket, web)
    assert not [line for line in web.requests if line.startswith(("PUT", "POST"))]


def test_what_is_not_read_at_an_address_is_refused(own: Path, bucket: Bucket, tmp_path: Path) -> None:
    write_images(tmp_path / "frames" / "one", make_clip(4, 0).frames)
    bucket.put_folder(tmp_path / "frames", "frames/")
    with pytest.raises(DataError, match="holds 4 pictures, first 000.jpg: at an address only video files"):
        find_splits(place(f"{bucket.address}/frames"), ["testing"])
    bucket.put_folder(own / "normal", "avenue/training_videos/")
    with pytest.raises(DataError, match="laid out as avenue.*copy the data set here"):
        find_splits(place(f"{bucket.address}/avenue"), ["testing"])
    bucket.put("notes/a.txt", b"")
    with pytest.raises(DataError, match="there is no video at"):
        find_splits(place(f"{bucket.address}/notes"), ["testing"])


def test_without_credentials_it_is_said_that_there_are_none(bucket: Bucket) -> None:
    environment = {name: value for name, value in os.environ.items() if "KEY" not in name}
    environment |= {"HOME": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent"}
    for arguments in (["inspect", bucket.address], ["prepare", bucket.address]):
        command = [sys.executable, "-m", "mnad.cli", *arguments]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
        assert run.returncode == 2
        assert "Unable to locate credentials" in run.stderr
        assert "Traceback" not in run.stderr


@pytest.mark.parametrize("package", ["upath", "s3fs"])
def test_a_missing_package_is_named(package: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
from mnad.cli import main
sys.exit(main(["inspect", "s3://bucket/videos"]))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "pip install 'mnad-ext[s3]'" in run.stderr


def test_options_of_local_paths_take_no_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(tmp_path), "--out", "s3://bucket/run"]) == 2
    assert "out must be a path on this machine, got the address s3://bucket/run" in capsys.readouterr().err
    assert not Path("s3:").exists()
