"""The report in a real browser."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mnad.artifacts.maps import FrameMaps, load_maps, save_maps
from mnad.artifacts.measurements import ARRAYS, load_measurements, save_measurements
from mnad.evaluation import AlarmRule, abnormality, detect
from mnad.report.page import ReportConfig, write_report
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.report.samples import FIRST_FRAME, VIDEOS, level, write_run

pytestmark = pytest.mark.filterwarnings("ignore:no pixel AUC")
WIDE, NARROW = (1280, 900), (390, 844)
Open = Callable[..., webdriver.Chrome]


@pytest.fixture(scope="module")
def page(by_hand: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(ReportConfig(by_hand, tmp_path_factory.mktemp("browser") / "report.html"))


@pytest.fixture
def opened(browser: webdriver.Chrome, page: Path) -> Open:
    def open_page(path: Path = page, size: tuple[int, int] = WIDE, media: str = "screen", scheme: str = "light") -> Any:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # clicks wait for no scrolling
        ]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(path.as_uri())
        drawn(browser, "target")
        return browser

    return open_page


def drawn(browser: webdriver.Chrome, layer: str) -> int:
    """Waits until a picture is there; gives the frame that it says it is."""
    canvas = browser.find_element(By.ID, f"picture-{layer}")
    return int(WebDriverWait(browser, 20).until(lambda _: canvas.get_attribute("data-drawn")))


def grey(browser: webdriver.Chrome, layer: str) -> int:
    """The brightness of the middle of a picture, as the browser has drawn it."""
    script = """const canvas = document.getElementById(arguments[0]);
        return canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];"""
    return int(browser.execute_script(script, f"picture-{layer}"))


def wait_for_frame(browser: webdriver.Chrome, frame: int) -> None:
    WebDriverWait(browser, 20).until(lambda _: drawn(browser, "target") == frame)
    WebDriverWait(browser, 20).until(lambda _: drawn(browser, "restored") == frame)
    assert abs(grey(browser, "target") - level(frame)) <= 3
    assert abs(grey(browser, "restored") - (255 - level(frame))) <= 3


def timeline(browser: webdriver.Chrome) -> WebElement:
    return browser.find_element(By.ID, "timeline")


def at(browser: webdriver.Chrome) -> int:
    return int(str(timeline(browser).get_attribute("aria-valuenow")))


def choose(browser: webdriver.Chrome, video: str) -> None:
    Select(browser.find_element(By.ID, "video")).select_by_visible_text(video)


def errors(browser: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def test_keys_move_the_frames(opened: Open) -> None:
    browser = opened()
    choose(browser, "01")
    slider = timeline(browser)
    slider.send_keys(Keys.HOME)
    wait_for_frame(browser, FIRST_FRAME)
    last = FIRST_FRAME + VIDEOS["01"] - 1
    for key, frame in [
        (Keys.ARROW_RIGHT, FIRST_FRAME + 1),
        (Keys.PAGE_UP, FIRST_FRAME + 11),
        (Keys.ARROW_LEFT, FIRST_FRAME + 10),
        (Keys.PAGE_DOWN, FIRST_FRAME),
        (Keys.ARROW_LEFT, FIRST_FRAME),
        (Keys.END, last),
        (Keys.ARROW_RIGHT, last),
    ]:
        slider.send_keys(key)
        assert at(browser) == frame
        wait_for_frame(browser, frame)
    assert "frame 153 of 153" in str(slider.get_attribute("aria-valuetext"))
    assert errors(browser) == []


def test_every_sheet_gives_the_frame_that_was_asked_for(opened: Open) -> None:
    browser = opened()
    for video, count in VIDEOS.items():
        choose(browser, video)
        timeline(browser).send_keys(Keys.HOME)
        for row in range(0, count, 21):
            wait_for_frame(browser, FIRST_FRAME + row)
            timeline(browser).send_keys(Keys.PAGE_UP, Keys.PAGE_UP, Keys.ARROW_RIGHT)
    assert errors(browser) == []


def mouse(browser: webdriver.Chrome, kind: str, x: float, y: float) -> None:
    event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def finger(browser: webdriver.Chrome, kind: str, x: float, y: float) -> None:
    names = {"mousePressed": "touchStart", "mouseMoved": "touchMove", "mouseReleased": "touchEnd"}
    points = [] if kind == "mouseReleased" else [{"x": x, "y": y}]
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": names[kind], "touchPoints": points})


@pytest.mark.parametrize(("size", "pointer"), [(WIDE, mouse), (NARROW, mouse), (NARROW, finger)])
def test_dragging_along_the_curve_moves_the_frames(size: tuple[int, int], pointer: Any, opened: Open) -> None:
    browser = opened(size=size)
    choose(browser, "01")
    plot = browser.find_element(By.CSS_SELECTOR, "#timeline .u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    box = browser.execute_script("return arguments[0].getBoundingClientRect()", plot)
    middle = box["y"] + box["height"] / 2
    seen = []
    for kind, share in [("mousePressed", 0.1), *(("mouseMoved", share) for share in (0.3, 0.5, 0.7, 0.9))]:
        pointer(browser, kind, box["x"] + share * box["width"], middle)
        WebDriverWait(browser, 20).until(lambda _: not seen or at(browser) != seen[-1])
        seen.append(at(browser))
        wait_for_frame(browser, seen[-1])
    assert np.abs(seen - (FIRST_FRAME + np.array([0.1, 0.3, 0.5, 0.7, 0.9]) * VIDEOS["01"])).max() <= 2
    pointer(browser, "mouseReleased", box["x"] + 0.9 * box["width"], middle)
    mouse(browser, "mouseMoved", box["x"] + 0.2 * box["width"], middle)
    assert at(browser) == seen[-1]
    assert errors(browser) == []


def test_it_plays_and_pauses(opened: Open) -> None:
    browser = opened()
    choose(browser, "02")
    timeline(browser).send_keys(Keys.HOME)
    button = browser.find_element(By.ID, "play")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    wait_for_frame(browser, FIRST_FRAME + VIDEOS["02"] - 1)
    WebDriverWait(browser, 20).until(lambda _: button.get_attribute("aria-pressed") == "false")
    timeline(browser).send_keys(Keys.SPACE)
    assert button.get_attribute("aria-pressed") == "true"
    timeline(browser).send_keys(Keys.SPACE)
    assert button.get_attribute("aria-pressed") == "false"


def move_threshold(browser: webdriver.Chrome, value: float) -> None:
    script = """const slider = document.getElementById("threshold");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input"));"""
    browser.execute_script(script, value)


@pytest.mark.parametrize("rule", [{}, {"hysteresis": 0.2, "merge_gap": 3, "min_length": 4}], ids=["plain", "merged"])
def test_the_slider_finds_what_evaluate_finds(
    rule: dict[str, Any], by_hand: Path, opened: Open, tmp_path: Path
) -> None:
    run = shutil.copytree(by_hand, tmp_path / "run")
    measured = load_measurements(run)
    kept = np.arange(len(measured)) % 37 != 20  # frames that could not be read
    arrays = {name: getattr(measured, name)[kept] for name in ARRAYS}
    assert measured.labels is not None
    holes = replace(measured, **arrays, labels=measured.labels[kept])
    maps = load_maps(run / "measurements.maps.npz", measured)
    fewer = {field.name: None if (of := getattr(maps, field.name)) is None else of[kept] for field in fields(maps)}
    save_measurements(run / "measurements.npz", holes)
    save_maps(run / "measurements.maps.npz", FrameMaps(**fewer), holes)
    config = ReportConfig(run, threshold=0.5, **rule)
    browser = opened(write_report(config))
    shown = browser.find_element(By.ID, "threshold-found")
    scores = abnormality(holes)
    # Some are scores themselves: frames at the threshold are not above it.
    for threshold in (0.5, 0.05, 0.3, 0.8, *np.quantile(scores, [0.2, 0.6, 0.9, 1.0], method="nearest")):
        move_threshold(browser, float(threshold))
        detection = detect(holes, scores, AlarmRule(float(threshold), **rule), fps=None)
        metrics = detection.metrics
        assert metrics is not None
        assert shown.text.startswith(f"{len(detection.alarms)} alarms · {metrics.events_found} of {metrics.events} ")
        for name in ("precision", "recall"):
            share = getattr(metrics, name)
            assert f"{name} {'none' if share is None else f'{100 * share:.1f} %'}" in shown.text
        assert f"{metrics.false_alarms} false alarms" in shown.text
        assert browser.find_element(By.ID, "threshold-value").text == f"{threshold:.3f}"
        cells = browser.find_elements(By.CSS_SELECTOR, "[id^=false-alarms-]")
        assert sum(int(cell.text) for cell in cells) == metrics.false_alarms
        above = scores > threshold
        assert browser.execute_script("return data.charts.roc.dot") == pytest.approx(
            [above[~holes.labels].mean(), above[holes.labels].mean()]
        )
        assert browser.find_element(By.ID, "next-alarm").is_enabled() == bool(detection.alarms)
    assert errors(browser) == []


def test_the_slider_starts_and_ends_at_the_calibrated_threshold(opened: Open) -> None:
    browser = opened()
    first = browser.execute_script("return [data.threshold, data.videos.map(({ alarms }) => alarms)]")
    back = browser.find_element(By.ID, "threshold-back")
    assert not back.is_enabled()
    timeline_before = browser.find_element(By.ID, "timeline").screenshot_as_png
    slider = browser.find_element(By.ID, "threshold")
    slider.send_keys(Keys.HOME)
    assert back.is_enabled()
    assert browser.execute_script("return data.threshold") == 0
    assert browser.find_element(By.ID, "timeline").screenshot_as_png != timeline_before
    back.click()
    assert browser.execute_script("return [data.threshold, data.videos.map(({ alarms }) => alarms)]") == first
    assert not back.is_enabled()
    assert errors(browser) == []


def test_alarms_and_gallery_lead_to_their_frames(opened: Open) -> None:
    browser = opened()
    data = browser.execute_script("return data.videos")
    choose(browser, "01")
    timeline(browser).send_keys(Keys.HOME)
    browser.find_element(By.ID, "next-alarm").click()
    rows = [row for first, last in data[0]["alarms"] for row in range(first, last + 1)]
    assert at(browser) - FIRST_FRAME in rows
    moment = browser.find_element(By.CSS_SELECTOR, ".gallery button.go")
    video, row = int(str(moment.get_attribute("data-video"))), int(str(moment.get_attribute("data-row")))
    moment.click()
    wait_for_frame(browser, FIRST_FRAME + row)
    assert browser.find_element(By.ID, "video").get_attribute("value") == str(video)
    assert browser.switch_to.active_element == timeline(browser)
    thumbnail = moment.find_element(By.CSS_SELECTOR, "canvas[data-layer=target]")
    assert thumbnail.get_attribute("data-drawn") == str(FIRST_FRAME + row)


def test_the_heatmap_is_where_the_error_is(opened: Open) -> None:
    browser = opened()
    drawn(browser, "error")
    script = """const canvas = document.getElementById("picture-error");
        const side = canvas.width, pixels = canvas.getContext("2d").getImageData(0, 0, side, side).data;
        return [[0.375, 0.375], [0.75, 0.75]].map(([x, y]) => {
          const first = 4 * (Math.floor(y * side) * side + Math.floor(x * side));
          return [...pixels.slice(first, first + 3)];
        });"""
    hot, cold = browser.execute_script(script)
    assert sum(hot) > 500
    assert sum(cold) < 30


def test_skipped_frames_show_the_one_before(opened: Open, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", noise=True)
    browser = opened(write_report(ReportConfig(run, megabytes=0.2)))
    kept = browser.execute_script("return data.videos[0].kept")
    assert kept[1] > 1
    choose(browser, "01")
    timeline(browser).send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert at(browser) == FIRST_FRAME + 1
    assert drawn(browser, "target") == FIRST_FRAME
    timeline(browser).send_keys(Keys.END, Keys.ARROW_LEFT)
    WebDriverWait(browser, 20).until(lambda _: drawn(browser, "target") == FIRST_FRAME + kept[-2])
    assert errors(browser) == []


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(size: tuple[int, int], scheme: str, opened: Open, tmp_path: Path) -> None:
    browser = opened(size=size, scheme=scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    shot = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
    (Path(os.environ.get("MNAD_SCREENSHOTS", tmp_path)) / f"report-{size[0]}-{scheme}.png").write_bytes(shot)
    picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[:2] == size[::-1]
    paper = float(picture[:, 2].mean())
    assert paper > 240 if scheme == "light" else paper < 40
    charts = browser.find_elements(By.CSS_SELECTOR, ".chart canvas, .timeline canvas")
    assert len(charts) >= 6
    assert all(0 < chart.size["width"] <= size[0] for chart in charts)
    assert errors(browser) == []


def test_printed_it_leaves_the_player_out(opened: Open) -> None:
    browser = opened(media="print", scheme="dark")
    assert not browser.find_element(By.ID, "player").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, ".tiles").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, ".videos svg").is_displayed()
    background = "return getComputedStyle(document.body).backgroundColor"
    assert browser.execute_script(background) == "rgb(255, 255, 255)"


def test_it_asks_the_network_for_nothing(opened: Open) -> None:
    browser = opened()
    drawn(browser, "error")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file:") for url in urls)
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("options", [{"memory": False}, {"labelled": False}, {"channels": 3}], ids=str)
def test_other_runs_open_without_errors(options: dict[str, Any], opened: Open, tmp_path: Path) -> None:
    browser = opened(write_report(ReportConfig(write_run(tmp_path / "run", **options))))
    choose(browser, "03")
    timeline(browser).send_keys(Keys.END)
    wait_for_frame(browser, FIRST_FRAME + VIDEOS["03"] - 1)
    assert errors(browser) == []
