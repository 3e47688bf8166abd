"""Writes the pages' tables from recorded results, so that no number is copied by hand.

python docs/tools/tables.py            fills in every <!-- table: NAME --> ... <!-- end --> of the pages
python docs/tools/tables.py --check    exit status 1 where a page is not as it would be filled in
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import model_tables
import protocol_tables
import speed_tables
import tutorial_tables
from pages import DOCS

PLACE = re.compile(r"(<!-- table: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
TABLES: dict[str, Callable[..., str]] = {
    **tutorial_tables.TABLES,
    **speed_tables.TABLES,
    **protocol_tables.TABLES,
    **model_tables.TABLES,
}


def filled_in(text: str) -> str:
    """Returns a page with all its tables; the words behind a table's name are its arguments."""

    def fill(place: re.Match[str]) -> str:
        name, *arguments = place[2].split()
        return f"{place[1]}\n{TABLES[name](*arguments)}\n\n{place[3]}"

    return PLACE.sub(fill, text)


def main(arguments: Sequence[str]) -> int:
    """Fills in all pages, or checks them."""
    stale: list[Path] = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        if (wanted := filled_in(text)) != text:
            stale.append(page)
            if "--check" not in arguments:
                page.write_text(wanted)
    for page in stale:
        print(f"{page.relative_to(DOCS)} is not what its recorded results say")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
