"""A watching command with its page, and events of the past for it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import yaml
from mnad.watching.history import History, WatchedEvent
from mnad.watching.watcher import DATABASE
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.watching.samples import Watching, free_port, wait_for

PATIENCE = 30.0
WIDE, NARROW = (1280, 900), (390, 844)
NEVER, ALWAYS = 10.0, -1.0  # thresholds
MINUS = chr(0x2212)
PAST = 40
NOTE = "<img src=nowhere onerror=window.broken=1> & more"
SKY = {"polygon": [[0, 0], [1, 0], [1, 0.25], [0, 0.25]], "name": "sky", "kind": "ignore"}
PATH = {"polygon": [[0.1, 0.3], [0.9, 0.3], [0.9, 0.9], [0.1, 0.9]], "name": "path", "kind": "only"}


def put_past_events(out: Path, stream: str, count: int, note: str) -> None:
    """Writes events that were found yesterday, whose clips and pictures are gone."""
    out.mkdir(parents=True, exist_ok=True)
    began = time.time() - 24 * 3600
    history = History(out / DATABASE)
    for number in range(count):
        event = WatchedEvent(
            id=f"{number:016x}",
            stream=stream,
            session="",
            state="held back" if number % 2 else "closed",
            began=began + 100 * number,
            duration=62.5,
            first=0,
            last=1562,
            peak=began + 100 * number + 1,
            score=number + 0.5,
            threshold=0.25,
            zone="door",
            note=note,
        )
        history.put_event(event)
    history.close()


class Server:
    """The command as users start it, with a page.

    Args:
        folder: Where its configuration is, and what it writes.
        options: Of its configuration.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.port, self.out, self.config = free_port(), folder / "out", folder / "watch.yaml"
        self.config.write_text(yaml.safe_dump({**options, "page": f"127.0.0.1:{self.port}"}))
        self.running: Watching | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.running = Watching(self.out, "--config", self.config)
        wait_for(self._answers)

    def kill(self) -> None:
        if self.running is not None:
            self.running.stop(signal.SIGKILL)
            self.running = None

    def _answers(self) -> bool:
        assert self.running is not None
        assert self.running.process.poll() is None, self.running.said
        try:
            self.ask("/api/streams")
        except (URLError, ConnectionError):
            return False
        return True

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Returns what the server answers, be it an error."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(f"http://{self.host}{path}", data, method=method), timeout=PATIENCE) as answer:
                content = answer.read()
        except HTTPError as error:
            content = error.read()
        return json.loads(content) if content else None

    def streams(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.ask("/api/streams")["streams"]}

    def threshold(self, name: str) -> float:
        return float(self.streams()[name]["threshold"])

    def change(self, name: str, **change: Any) -> None:
        assert "error" not in self.ask(f"/api/streams/{name}", "PATCH", change)

    def events(self, stream: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(f"/api/events?stream={stream}")["events"]
        return found


class Page:
    """The page in the browser.

    Attributes:
        expected: Parts of errors in the browser's console that are right.
    """

    def __init__(self, browser: webdriver.Chrome, server: Server) -> None:
        self.browser, self.server = browser, server
        self.expected: list[str] = []

    def open(self, size: tuple[int, int] = WIDE, scheme: str = "light", path: str = "/") -> Page:
        """Opens the page as somebody does who was never here."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.prefer(scheme)
        origin = {"origin": f"http://{self.server.host}", "storageTypes": "local_storage"}
        self.browser.execute_cdp_cmd("Storage.clearDataForOrigin", origin)
        self.browser.get(f"http://{self.server.host}{path}")
        pictures = 2 if size == WIDE else 1  # that can be seen without scrolling
        self.wait(lambda: len(self.all(".shot.there")) >= pictures and self.all("#list > li"))
        return self

    def prefer(self, scheme: str) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # clicks wait for no scrolling
        ]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def wait(self, what: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, 20, 0.05).until(lambda _: what())

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def card(self, name: str) -> WebElement:
        return self.wait(lambda: self.all(f"[data-stream='{name}']"))[0]

    def part(self, name: str, part: str) -> WebElement:
        return self.card(name).find_element(By.CSS_SELECTOR, f"[data-part='{part}']")

    def text(self, name: str, part: str) -> str:
        return str(self.part(name, part).get_property("textContent"))

    def rows(self) -> list[str]:
        """The ids of the events in the list."""
        return list(self.run("return [...document.querySelectorAll('#list > li')].map((row) => row.dataset.id)"))

    def focused(self) -> WebElement:
        return self.browser.switch_to.active_element

    def press(self, *keys: str) -> None:
        for key in keys:
            self.focused().send_keys(key)

    def pixels(self, name: str) -> str:
        return str(self.run("return arguments[0].toDataURL()", self.part(name, "canvas")))

    def asked_for(self) -> list[str]:
        """What the page has asked the server for."""
        script = "return performance.getEntriesByType('resource').map(({ name }) => name)"
        return [name.removeprefix(f"http://{self.server.host}") for name in self.run(script)]

    def pretend(self, **change: Any) -> None:
        """Changes what the page is told of the first stream; what it sends is kept."""
        self.run(
            """
            const before = window.pretended;
            [window.pretended] = arguments;
            if (before !== undefined) return document.dispatchEvent(new Event("visibilitychange")); // it asks at once
            const real = window.fetch;
            window.sent = [];
            window.fetch = async (path, options = {}) => {
                if (options.method === "PATCH") window.sent.push(options.body);
                const answer = await real(path, options);
                if (path !== "/api/streams" || options.method !== "GET") return answer;
                const content = await answer.json();
                Object.assign(content.streams[0], window.pretended);
                return Response.json(content);
            };""",
            change,
        )

    def close(self) -> None:
        """Checks what the browser has told meanwhile."""
        self.browser.get("about:blank")
        errors = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert [error for error in errors if not any(each in error for each in self.expected)] == []
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
        assert {urlsplit(url).netloc for url in asked if url.startswith("http")} <= {self.server.host}


CURVE = """
    const [card, name] = arguments;
    const canvas = card.querySelector("canvas:not([data-part])");
    const style = document.createElement("i").style;
    style.color = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const wanted = style.color.match(/\\d+/g).map(Number);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const rows = new Array(canvas.height).fill(0);
    for (let index = 0; index < data.length; index += 4) {
        const far = Math.abs(data[index] - wanted[0]) + Math.abs(data[index + 1] - wanted[1])
            + Math.abs(data[index + 2] - wanted[2]);
        if (far < 40 && data[index + 3] > 200) rows[Math.floor(index / 4 / canvas.width)]++;
    }
    return rows;"""


def rows_of(page: Page, name: str, colour: str) -> list[int]:
    """How many pixels of a curve have one of the page's colours, by row."""
    return list(page.run(CURVE, page.card(name), colour))
