"""The page of ``mnad watch`` in a real browser: events as they come, and those of the past."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from tests.watching.page_samples import ALWAYS, NARROW, NEVER, NOTE, PAST, WIDE, Page, Server


def test_an_event_appears_and_its_clip_plays(page: Page, server: Server) -> None:
    page.open()
    before = page.rows()
    server.change("gate", threshold=ALWAYS)
    page.wait(lambda: len(page.rows()) > len(before) or page.rows()[0] != before[0])
    event = server.events("gate")[0]
    row = page.one("#list > li:first-child")
    assert row.get_attribute("data-id") == event["id"]
    assert row.find_element(By.CSS_SELECTOR, "[data-part=state]").text == "going on"
    assert row.find_element(By.CSS_SELECTOR, "[data-part=zone]").text == "zone path"
    page.wait(lambda: "gate: abnormal" in page.one("#overall").text)
    page.wait(lambda: row.find_element(By.CSS_SELECTOR, "img").get_property("naturalWidth") > 0)
    row.find_element(By.CSS_SELECTOR, "button").send_keys(Keys.ENTER)
    picture, video = page.one("#viewer [data-part=picture]"), page.one("#viewer video")
    page.wait(lambda: picture.is_displayed() and picture.get_property("naturalWidth") == 64)
    assert not video.is_displayed()
    server.change("gate", threshold=NEVER)
    page.wait(lambda: video.is_displayed() and video.get_property("readyState") >= 2)
    assert not picture.is_displayed()
    page.run("return arguments[0].play()", video)
    page.wait(lambda: video.get_property("currentTime") > 0.1)
    page.wait(lambda: page.one("#viewer [data-part=state]").text == "over")
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.focused().get_attribute("class") == "event")
    assert video.get_dom_attribute("src") is None  # nothing goes on behind the page


def top_of(page: Page, element: WebElement) -> float:
    """Where it is on the screen."""
    return float(page.run("return arguments[0].getBoundingClientRect().top", element))


def wait_while_reading(page: Page, server: Server, button: WebElement) -> None:
    """Waits for a new event while a row has the focus, which must stay where it is."""
    rows = page.rows()
    page.run("arguments[0].focus()", button)
    top = top_of(page, button)
    server.change("yard", threshold=ALWAYS)
    page.wait(lambda: page.rows()[0] not in rows)
    server.change("yard", threshold=NEVER)
    assert page.focused() == button
    assert top_of(page, button) == pytest.approx(top, abs=1)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_new_event_does_not_move_what_is_read(size: tuple[int, int], page: Page, server: Server) -> None:
    page.open(size)
    button = page.all("#list > li button")[1]
    wait_while_reading(page, server, button)
    assert str(page.one("#said").get_property("textContent")).startswith("New event: yard, ")
    above = page.one("#above")
    assert above.text == "↑ 1 new"
    above.click()
    assert page.focused() == page.one("#list > li:first-child button")
    assert 0 < top_of(page, page.focused()) < size[1]
    assert not above.is_displayed()
    if size == NARROW:
        return
    Select(page.one("#filter")).select_by_value("yard")
    page.wait(lambda: page.rows() == [event["id"] for event in server.events("yard")])
    wait_while_reading(page, server, page.one("#list > li:last-child button"))  # of a list that needs no scrolling


def test_keys_go_through_the_events(page: Page) -> None:
    page.open()
    Select(page.one("#filter")).select_by_value("old")
    page.wait(lambda: len(page.rows()) == 30 and page.rows()[0] == f"{PAST - 1:016x}")
    viewer = page.one("#viewer")
    page.one("#list > li:first-child button").click()
    assert page.one("#viewer [data-part=state]").text == "held back"
    at = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_UP):
        page.press(key)
        at.append(int(str(viewer.get_attribute("data-id")), 16))
    assert at == [38, 37, 38, 39, 39]
    for number in range(PAST - 2, -1, -1):  # beyond what was loaded
        page.press(Keys.ARROW_RIGHT)
        page.wait(lambda number=number: viewer.get_attribute("data-id") == f"{number:016x}")
    assert page.one("#viewer [data-part=older]").get_attribute("aria-disabled") == "true"
    page.press(Keys.ESCAPE)
    page.wait(lambda: not viewer.is_displayed())
    assert page.focused() == page.one("#list > li:last-child button")


def test_events_are_filtered_and_older_ones_loaded(page: Page, server: Server) -> None:
    page.open()
    Select(page.one("#filter")).select_by_value("old")
    page.wait(lambda: page.rows() == [f"{number:016x}" for number in range(PAST - 1, PAST - 31, -1)])
    older = page.one("#older")
    older.click()
    page.wait(lambda: page.rows() == [f"{number:016x}" for number in range(PAST - 1, -1, -1)])
    assert not older.is_displayed()
    row = page.one("#list > li:first-child")
    words = [line for line in row.text.splitlines() if line]
    assert words[:2] == ["old", "held back"]
    assert "1 min 3 s" in words
    assert "score 39.50, threshold 0.250" in words
    assert words[-1] == NOTE  # as text
    assert page.run("return window.broken") is None
    Select(page.one("#filter")).select_by_value("yard")
    page.wait(lambda: page.rows() == [event["id"] for event in server.events("yard")])
