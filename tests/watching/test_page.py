"""The page of ``mnad watch`` in a real browser: what is watched, and what can be changed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.watching.page_samples import MINUS, NEVER, Page, Server, rows_of
from tests.watching.samples import wait_for


def test_every_stream_has_a_card_with_its_live_picture(page: Page) -> None:
    page.open()
    assert [card.get_attribute("data-stream") for card in page.all(".card")] == ["gate", "yard"]
    page.wait(lambda: page.one("#overall").text == "2 streams, all well")
    for name in ("gate", "yard"):
        seen = {page.pixels(name)}
        page.wait(lambda name=name, seen=seen: seen.add(page.pixels(name)) or len(seen) > 3)
        assert page.part(name, "state").text == "Watching"
        assert page.part(name, "icon").get_attribute("href") == "#icon-well"
        page.wait(lambda name=name: page.text(name, "rate") == "25.0 of 25 frames/s")
        page.wait(lambda name=name: page.text(name, "latency").endswith(" ms"))
        assert float(page.text(name, "score").replace(MINUS, "-")) < NEVER


def test_pictures_do_not_crowd_out_other_requests(page: Page) -> None:
    page.open()
    script = """
        const done = arguments[arguments.length - 1];
        performance.clearResourceTimings();
        setTimeout(() => done(performance.getEntriesByType("resource")
            .filter(({ name }) => name.includes("gate/picture.jpg"))
            .map(({ startTime, responseEnd }) => [startTime, responseEnd])), 1500);"""
    loads = sorted(page.browser.execute_async_script(script))
    assert 1 <= len(loads) <= 9
    assert all(begin >= end for (_, end), (begin, _) in pairwise(loads))


def test_zones_lie_over_the_picture(page: Page) -> None:
    page.open()
    page.wait(lambda: len(page.all("[data-stream=gate] polygon")) == 4)
    assert [each.text for each in page.all("[data-stream=gate] .zone-name")] == ["sky: ignored", "path"]
    ignored, only = page.one("polygon.ignore"), page.one("polygon.only")
    assert "#hatch" in ignored.value_of_css_property("fill")
    assert only.value_of_css_property("fill") == "none"
    shot, drawn = page.part("gate", "shot").rect, only.rect
    assert drawn["x"] - shot["x"] == pytest.approx(0.1 * shot["width"], abs=3)
    assert drawn["height"] == pytest.approx(0.6 * shot["height"], abs=5)
    assert page.all("[data-stream=yard] polygon") == []


def threshold_row(page: Page, name: str) -> int:
    """The row of a curve in which its dashed line is, once that is drawn."""
    page.wait(lambda: max(rows_of(page, name, "--ink")) > 40)
    rows = rows_of(page, name, "--ink")
    return rows.index(max(rows))


def test_the_curve_shows_scores_and_threshold(page: Page, server: Server) -> None:
    page.open()
    page.wait(lambda: sum(rows_of(page, "yard", "--line")) > 100)
    for threshold in (1.0, 0.997, 0.993, 0.99):
        server.change("yard", threshold=threshold)
        said = f"threshold {threshold:.3f}"
        page.wait(lambda said=said: said in str(page.part("yard", "curve").get_attribute("aria-label")))
        assert max(rows_of(page, "yard", "--ink")) > 40  # the line is as sharp wherever it is
    high = threshold_row(page, "yard")
    server.change("yard", threshold=0.2)
    page.wait(lambda: threshold_row(page, "yard") > high + 20)
    page.wait(lambda: sum(rows_of(page, "yard", "--alarm")) > 10)


def test_the_keyboard_moves_the_threshold(page: Page, server: Server) -> None:
    page.open()
    slider = page.part("yard", "slider")
    page.wait(lambda: page.text("yard", "value") == f"{NEVER:.2f}")
    slider.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    wait_for(lambda: server.threshold("yard") < NEVER)
    page.wait(lambda: float(page.text("yard", "value")) == pytest.approx(server.threshold("yard")))
    assert server.threshold("yard") == pytest.approx(float(str(slider.get_property("value"))))
    assert slider.get_attribute("aria-valuetext") == page.text("yard", "value")
    assert page.focused() == slider
    assert server.threshold("gate") == NEVER
    assert page.part("yard", "rates").get_property("value") == "own"


def test_a_rate_of_false_alarms_chooses_the_threshold(page: Page, server: Server) -> None:
    page.open()
    rates = Select(page.part("yard", "rates"))
    calibrated = {each["false_alarms_per_hour"]: each["threshold"] for each in server.streams()["yard"]["calibrated"]}
    assert [option.get_property("value") for option in rates.options] == [*(f"{rate:g}" for rate in calibrated), "own"]
    rate, threshold = list(calibrated.items())[-1]
    rates.select_by_value(f"{rate:g}")
    wait_for(lambda: server.threshold("yard") == threshold)
    page.wait(lambda: float(page.text("yard", "value")) == pytest.approx(threshold, abs=1e-3))
    assert page.part("yard", "rates").get_property("value") == f"{rate:g}"


def test_dragging_shows_the_line_and_releasing_applies_it(page: Page, server: Server) -> None:
    page.open()
    page.wait(lambda: page.text("yard", "value") == f"{NEVER:.2f}")
    box = page.run("return arguments[0].getBoundingClientRect()", page.part("yard", "slider"))

    def mouse(kind: str, share: float) -> None:
        at = {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}
        event = {"type": kind, **at, "button": "left", "buttons": 1, "clickCount": 1}
        page.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    before = threshold_row(page, "yard")
    mouse("mousePressed", 0.8)
    mouse("mouseMoved", 0.4)
    page.wait(lambda: threshold_row(page, "yard") > before + 20)
    shown = float(page.text("yard", "value"))
    assert 3 < shown < 7
    assert server.threshold("yard") == NEVER
    mouse("mouseReleased", 0.4)
    wait_for(lambda: server.threshold("yard") == pytest.approx(shown))


def test_pause_and_resume(page: Page, server: Server) -> None:
    page.open()
    button = page.part("yard", "pause")
    button.click()
    wait_for(lambda: server.streams()["yard"]["state"] == "paused")
    page.wait(lambda: page.text("yard", "state") == "Paused" and button.text == "Resume")
    assert page.part("yard", "icon").get_attribute("href") == "#icon-paused"
    page.wait(lambda: page.one("#overall").text == "2 streams, 1 well, 1 paused")
    button.click()
    wait_for(lambda: server.streams()["yard"]["state"] == "watching")
    page.wait(lambda: page.text("yard", "state") == "Watching" and button.text == "Pause")


def test_a_stream_is_added_and_removed(page: Page, server: Server, camera_video: Path) -> None:
    page.expected = ["422 (Unprocessable Entity)", "/api/streams/extra/picture.jpg"]
    page.open()
    page.one("#add").click()
    page.one("[name=name]").send_keys("extra")
    page.one("[name=address]").send_keys("/no/such/file", Keys.ENTER)
    fault = page.one("#add-dialog .fault")
    page.wait(lambda: fault.text == "there is no file, folder or device '/no/such/file' to read frames from")
    assert "extra" not in server.streams()
    page.one("[name=address]").clear()
    page.one("[name=address]").send_keys(str(camera_video))
    page.one("#add-dialog [type=submit]").click()
    page.wait(lambda: page.part("extra", "name") == page.focused())
    assert server.streams()["extra"]["address"] == str(camera_video)
    assert page.one("[name=address]").get_property("value") == ""
    page.wait(lambda: page.all("[data-stream=extra] .shot.there"))
    page.part("extra", "remove").click()
    assert page.one("#remove-title").text == "Remove extra?"
    page.press(Keys.ESCAPE)
    assert "extra" in server.streams()
    page.part("extra", "remove").click()
    page.one("#remove-dialog [type=submit]").click()
    page.wait(lambda: page.all("[data-stream=extra]") == [])
    assert list(server.streams()) == ["gate", "yard"]


def test_the_heatmap_is_remembered(page: Page) -> None:
    page.open()
    heat = page.one("#heat")
    assert not any("heat=1" in path for path in page.asked_for())
    heat.send_keys(Keys.SPACE)
    for name in ("gate", "yard"):
        page.wait(lambda name=name: f"/api/streams/{name}/picture.jpg?heat=1" in page.asked_for())
    page.browser.refresh()
    page.wait(lambda: page.all(".shot.there"))
    assert page.one("#heat").is_selected()
    assert all("heat=1" in path for path in page.asked_for() if "picture.jpg" in path)
