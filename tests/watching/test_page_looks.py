"""The page of ``mnad watch`` in a real browser: for everybody, in whatever state the server is."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.watching.page_samples import NARROW, NOTE, WIDE, Page, Server, rows_of

CONDITIONS = {
    "offline": "Offline",
    "frozen": "Picture is frozen",
    "black": "Picture is black",
    "covered": "Camera is covered",
    "switched": "Switched between day and night",
    "moved": "Camera has moved",
    "changed": "Scene has changed",
}


def test_conditions_are_said_in_words(page: Page) -> None:
    page.open()
    accept = page.part("gate", "accept")
    for condition, words in CONDITIONS.items():
        page.pretend(condition=condition, fault=NOTE if condition == "offline" else "")
        page.wait(lambda words=words: page.text("gate", "state") == words)
        assert page.part("gate", "icon").get_attribute("href") == "#icon-trouble"
        assert page.one("#overall").text == f"gate: {words.lower()}"
        assert page.one("#said").get_property("textContent") == f"gate: {words.lower()}"
        assert (page.text("gate", "why") == NOTE) == (condition == "offline")
        assert accept.is_displayed() == (condition == "moved")
        if condition == "moved":
            accept.click()
            page.wait(lambda: page.run("return window.sent") == ['{"accept_view":true}'])


def test_a_slow_stream_is_called_so(page: Page) -> None:
    page.open()
    page.pretend(slow=True, rate=8.0, unreadable=3, held_back=2)
    page.wait(lambda: page.text("gate", "rate") == "slow: 8.00 of 25 frames/s")
    assert page.text("gate", "frames").endswith(" frames, 3 unreadable")
    assert page.text("gate", "events").endswith(", 2 held back")


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_nothing_is_wider_than_the_page(size: tuple[int, int], page: Page) -> None:
    page.open(size)
    script = "const { scrollWidth, clientWidth } = document.documentElement; return [scrollWidth, clientWidth]"
    page.wait(lambda: page.all("[data-stream=gate] polygon"))
    assert page.run(script) == [size[0], size[0]]
    for opener, dialog in [("#add", "#add-dialog"), ("[data-part=remove]", "#remove-dialog"), (".event", "#viewer")]:
        page.run("document.querySelector(arguments[0]).click()", opener)
        box = page.run("return document.querySelector(arguments[0]).getBoundingClientRect()", dialog)
        assert box["width"] > 200
        assert box["left"] >= 0
        assert box["right"] <= size[0]
        assert box["bottom"] <= size[1]
        page.press(Keys.ESCAPE)
    assert page.run(script) == [size[0], size[0]]


CONTRASTS = """
    const channels = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([red, green, blue]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    const linear = (value) => (value <= 10.3 ? value / 3294 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const found = {};
    for (const element of document.querySelectorAll("body *")) {
        const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
        if (!words || !element.checkVisibility()) continue;
        if (element.closest(".frame, .media, .skip, .unseen") !== null) continue; // over pictures, and out of sight
        const under = (each) => (channels(getComputedStyle(each).backgroundColor)[3] ?? 1) < 1
            ? under(each.parentElement) : getComputedStyle(each).backgroundColor;
        const [ink, paper] = [getComputedStyle(element).color, under(element)]
            .map((colour) => light(channels(colour).slice(0, 3).map(linear)) + 0.05);
        const name = `${element.tagName}.${element.className} ${element.textContent.slice(0, 20)}`;
        found[name] = Math.max(ink / paper, paper / ink);
    }
    return found;"""


def test_text_is_legible_in_light_and_dark_mode(page: Page) -> None:
    page.open()
    page.pretend(slow=True, condition="moved")
    page.wait(lambda: page.text("gate", "state") == CONDITIONS["moved"])
    papers = []
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        papers.append(page.run("return getComputedStyle(document.body).backgroundColor"))
        for opener in (None, "#add", ".event"):
            if opener is not None:
                page.run("document.querySelector(arguments[0]).click()", opener)
            contrasts = page.run(CONTRASTS)
            assert len(contrasts) > 30
            assert {what: ratio for what, ratio in contrasts.items() if ratio < 4.5} == {}
            if opener is not None:
                page.press(Keys.ESCAPE)
        page.wait(lambda: sum(rows_of(page, "yard", "--line")) > 100)  # in this scheme's colour
    assert papers == ["rgb(255, 255, 255)", "rgb(20, 24, 28)"]


def test_everything_is_named_and_reached_by_the_keyboard(page: Page) -> None:
    page.open()
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = {"button", "slider", "combobox", "switch", "link", "textbox", "image", "dialog"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and node["role"]["value"] in controls
    ]
    assert {"button", "slider", "combobox", "switch", "image"} <= {role for role, _ in named}
    assert [role for role, name in named if not name] == []
    names = [name for role, name in named if role in ("slider", "combobox")]
    assert len(names) == len(set(names))
    script = """
        const all = [...document.querySelectorAll("a, button, input, select")];
        return all.filter((each) => each.checkVisibility()).length;"""
    reached = []
    page.run("document.body.focus()")
    for _ in range(page.run(script)):
        page.press(Keys.TAB)
        focus = page.focused()
        reached.append(focus.id)
        assert focus.value_of_css_property("outline-style") != "none"
    assert len(set(reached)) == len(reached)


def test_nothing_is_asked_for_while_nobody_looks(page: Page) -> None:
    page.open()
    page.browser.minimize_window()
    page.wait(lambda: page.run("return document.hidden"))
    script = """
        const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
        const [done] = arguments;
        later(500).then(() => performance.clearResourceTimings()).then(() => later(1500))
            .then(() => done(performance.getEntriesByType("resource").length));"""
    assert page.browser.execute_async_script(script) == 0
    page.browser.set_window_rect(0, 0, *WIDE)
    page.wait(lambda: not page.run("return document.hidden"))
    page.wait(lambda: len(page.asked_for()) > 12)


def test_an_error_of_the_server_is_shown(page: Page) -> None:
    page.open()
    page.run("""
        const real = window.fetch;
        window.fetch = (path, options) => (window.well || path.includes("picture") ? real(path, options)
            : Promise.resolve(Response.json({ error: "a token is needed" }, { status: 401 })));""")
    page.wait(lambda: page.one("#banner").text == "a token is needed")
    page.run("window.well = true")
    page.wait(lambda: page.one("#banner").text == "")


def test_a_server_that_is_gone_is_told_of_and_found_again(page: Page, server: Server) -> None:
    page.expected = ["net::ERR_", "404 (Not Found)"]
    page.open()
    server.kill()
    page.wait(lambda: page.one("#banner").text.startswith("The server cannot be reached. This is how it was at "))
    assert page.one("#overall").text == "Server not reached"
    server.start()
    page.wait(lambda: page.one("#banner").text == "" and page.one("#overall").text == "2 streams, all well")
    seen = {page.pixels("yard")}
    page.wait(lambda: seen.add(page.pixels("yard")) or len(seen) > 3)
