from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mnad.artifacts.maps import load_maps, maps_beside, save_maps
from mnad.artifacts.measurements import load_measurements
from mnad.cli import main
from mnad.pipeline.score import ScoreConfig, score
from mnad.report.page import ReportConfig, write_report
from mnad.runtime.errors import CheckpointError, ConfigError, DataError, OutputError

from tests.report.samples import ITEMS, VIDEOS, write_run

pytestmark = pytest.mark.filterwarnings("ignore:no pixel AUC")
VOID = {"meta", "link", "br", "img", "input", "rect", "line", "polyline"}
LOADING = ("src", "href", "srcset", "data", "action", "poster", "background")


class Page(HTMLParser):
    """Checks that tags are closed in order, and gathers what a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data


def page_of(run: Path, **options: Any) -> str:
    return write_report(ReportConfig(run, run / "page.html", **options)).read_text()


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def page(by_hand: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(shutil.copytree(by_hand, tmp_path_factory.mktemp("page") / "run"))


def test_it_is_well_formed(page: str) -> None:
    parsed = Page(page)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert page.startswith("<!doctype html>\n")


def test_it_loads_nothing(page: str) -> None:
    parsed = Page(page)
    for tag, name, value in parsed.attributes:
        assert name not in LOADING or value.startswith(("data:", "#")), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
    assert "default-src 'none'" in page
    styles, scripts = parsed.text["style"], parsed.text["script"]
    assert not re.search(r"url\(|@import", styles)
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\(|importScripts", scripts)
    # The one address there is: the notice at the head of uPlot.
    assert set(re.findall(r"\w+://[^\s)\"']+", page)) == {"https://github.com/leeoniya/uPlot"}


def test_the_script_for_curves_is_the_published_one() -> None:
    script = resources.files("mnad.report").joinpath("vendor/uplot/uPlot.iife.min.js").read_bytes()
    # uplot 1.6.32 on npm
    assert hashlib.sha256(script).hexdigest() == "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"


def test_it_holds_every_sheet_that_the_script_asks_for(page: str) -> None:
    data, ids = data_of(page), set(Page(page).ids)
    per_sheet = data["grid"]["tiles"]
    assert [video["name"] for video in data["videos"]] == list(VIDEOS)
    wanted = {
        f"sheet-{layer['name']}-{index}-{number}"
        for layer in data["layers"]
        for index, video in enumerate(data["videos"])
        for number in range(-(-len(video["kept"] or video["frames"]) // per_sheet))
    }
    assert {each for each in ids if each.startswith("sheet-")} == wanted


def test_it_says_the_numbers_and_the_protocol(page: str) -> None:
    for words in (
        "Frame AUC, published protocol",
        "95 % interval",
        "Frame AUC, mean of videos",
        "chosen on the test labels",
        "lambda 0.6 (published); P and D normalised per-video, not smoothed",
        "carried-over where E_t &lt; 0.01",
        "The worst false alarms",
        "The worst misses",
        "positional share (last epoch)",
        "2 epochs, 20 steps, on by hand",
    ):
        assert words in page, words


def test_training_curves_leave_out_what_is_not_there(page: str) -> None:
    charts = data_of(page)["charts"]["training"]
    values = {series["label"]: series["values"] for chart in charts for series in chart["series"]}
    assert values["psnr"] == [20, None]
    assert values["compactness"] == [1e-5, None]
    assert "separateness" not in values


@pytest.mark.parametrize("megabytes", [0.15, 0.25])
def test_the_size_is_kept(megabytes: float, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", noise=True)
    page = page_of(run, megabytes=megabytes)
    assert len(page.encode()) <= megabytes * 1e6
    data = data_of(page)
    assert any(video["kept"] is not None for video in data["videos"])
    assert re.search(r"One frame in \d+ has pictures", page)
    start = data["start"]
    assert start["row"] in data["videos"][start["video"]]["kept"]
    for moment in re.findall(r'data-layer="target" data-video="(\d+)" data-row="(\d+)"', page):
        assert int(moment[1]) in data["videos"][int(moment[0])]["kept"]


def test_a_size_that_cannot_be_kept_is_refused(by_hand: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(OutputError, match="--megabytes"):
        write_report(ReportConfig(by_hand, out, megabytes=0.05))
    assert not out.exists()
    with pytest.raises(ConfigError, match="megabytes must be greater than 0"):
        ReportConfig(by_hand, megabytes=0)


def test_a_model_without_memory(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", memory=False))
    assert [layer["name"] for layer in data_of(page)["layers"]] == ["target", "restored", "error"]
    assert "Is the memory alive?" not in page
    assert "lambda 1 (no memory)" in page
    Page(page)


def test_video_without_labels(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", labelled=False))
    data = data_of(page)
    assert not data["labelled"]
    assert set(data["charts"]) == {"usage", "training"}
    assert sum(len(video["alarms"]) for video in data["videos"]) > 0
    assert "AUC" not in Page(page).text.get("dt", "")
    assert "The highest scores" in page
    assert "worst misses" not in page
    Page(page)


def test_colour_and_item_usage(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", channels=3)
    usage = data_of(page_of(run))["charts"]["usage"]["series"]
    assert [series["label"] for series in usage] == ["normal frames", "abnormal frames"]
    for series in usage:
        assert len(series["values"]) == ITEMS
        assert sum(series["values"]) == pytest.approx(1, abs=1e-4)


def test_names_are_no_code(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><b title='\"'>&"
    page = page_of(write_run(tmp_path / "run", videos={name: 90}))
    assert "<script>alert" not in page
    assert data_of(page)["videos"][0]["name"] == name
    Page(page)


def test_plots_of_the_run_with_their_captions(by_hand: Path, tmp_path: Path) -> None:
    run = shutil.copytree(by_hand, tmp_path / "run")
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    for file in ("plots/a_items.png", "figures/b_queries.png"):  # the folder's name in earlier versions
        (run / file).parent.mkdir()
        assert cv2.imwrite(str(run / file), picture)
    (run / "plots" / "a_items.txt").write_text("What <each> item means.\n")
    page = page_of(run)
    captions = re.findall(r'<figure class="wide"><img [^>]*><figcaption>(.*?)</figcaption>', page)
    assert captions == ["What &lt;each&gt; item means.", "B queries"]
    assert base64.b64encode((run / "figures" / "b_queries.png").read_bytes()).decode() in page


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("checkpoint.safetensors", "mnad train --data DATA --out {run}"),
        ("measurements.npz", "mnad score {run} --data DATA --maps"),
        ("measurements.maps.npz", "mnad score {run} --data DATA --maps"),
    ],
)
def test_an_incomplete_run_says_what_makes_it(missing: str, command: str, by_hand: Path, tmp_path: Path) -> None:
    run = shutil.copytree(by_hand, tmp_path / "run")
    (run / missing).unlink()
    with pytest.raises(DataError) as stopped:
        page_of(run)
    assert missing in str(stopped.value)
    assert str(stopped.value).endswith(command.format(run=run))
    assert not (run / "page.html").exists()


def test_without_curves_there_is_no_training_section(by_hand: Path, tmp_path: Path) -> None:
    run = shutil.copytree(by_hand, tmp_path / "run")
    shutil.rmtree(run / "curves")
    assert 'id="training-title"' not in page_of(run)
    (run / "curves").mkdir()
    (run / "curves" / "metrics.csv").write_text("step,loss\n1,much\n")
    with pytest.raises(DataError, match="is not a file of curves"):
        page_of(run)


def test_files_that_do_not_belong_together(by_hand: Path, tmp_path: Path) -> None:
    run = shutil.copytree(by_hand, tmp_path / "run")
    measured = load_measurements(run)
    maps = load_maps(maps_beside(run / "measurements.npz"), measured)
    shorter = type(maps)(maps.error[:-1], None, maps.target[:-1], maps.restored[:-1])
    save_maps(maps_beside(run / "measurements.npz"), shorter, measured)
    with pytest.raises(DataError, match="is damaged: it names 235 frames and holds 234"):
        page_of(run)
    with np.load(by_hand / "measurements.npz") as stored:
        arrays = dict(stored)
    arrays["header"] = np.array(str(arrays["header"]).replace("mnad-measurements/", "mnad-measurements/9"))
    np.savez(run / "measurements.npz", **arrays)
    with pytest.raises(DataError, match="mnad-measurements/9"):
        page_of(run)
    with pytest.raises(DataError, match="no folder"):
        page_of(tmp_path / "nowhere")


def test_a_checkpoint_of_another_version(by_hand: Path, tmp_path: Path) -> None:
    run = shutil.copytree(by_hand, tmp_path / "run")
    (run / "checkpoint.safetensors").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError):
        page_of(run)


def test_the_command(synthetic: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    assert main(["report", str(run)]) == 2
    assert "measurements.maps.npz" in capsys.readouterr().err
    score(ScoreConfig(run, synthetic, accelerator="cpu", maps=True))
    assert main(["report", str(run), "--out", str(tmp_path / "out.html"), "--lambda", "0.5", "--threshold", "0.9"]) == 0
    assert "it needs no network" in capsys.readouterr().out
    page = (tmp_path / "out.html").read_text()
    assert "lambda 0.5 (given)" in page
    assert "at the threshold 0.90, given" in page
