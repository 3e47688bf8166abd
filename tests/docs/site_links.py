"""The links of a built site, and which of them lead nowhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """What a page links to, (tag, address), and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors = {"", "__top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if address := values.get(LINKS.get(tag, "")):
            self.links.append((tag, address))


def broken(site: Path) -> list[str]:
    """Returns the links within a site that lead nowhere, and all that it would load from elsewhere."""
    pages = {file.resolve(): Page(file.read_text()) for file in site.rglob("*.html")}
    found = []
    for file, page in pages.items():
        for tag, address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    found.append(f"{file.name} loads {address}")
                continue
            path = (site if parts.path.startswith("/") else file.parent) / unquote(parts.path).lstrip("/")
            target = (path if parts.path else file).resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{file.name}: {address} is not there")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{file.name}: {address} has no such anchor")
    return found
