"""Writes the pages' tables from recorded results, so that no number is copied by hand.

python docs/tools/tables.py    fills in every <!-- table: NAME --> ... <!-- end --> of the pages
"""

from __future__ import annotations

import re
from collections.abc import Callable

import cluster_tables
import deployed_tables
import memory_tables
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
    **deployed_tables.TABLES,
    **memory_tables.TABLES,
    **cluster_tables.TABLES,
}


def filled_in(text: str) -> str:
    """Returns a page with all its tables; the words behind a table's name are its arguments."""

    def fill(place: re.Match[str]) -> str:
        name, *arguments = place[2].split()
        return f"{place[1]}\n{TABLES[name](*arguments)}\n\n{place[3]}"

    return PLACE.sub(fill, text)


if __name__ == "__main__":
    for page in sorted(DOCS.rglob("*.md")):
        if (text := filled_in(page.read_text())) != page.read_text():
            page.write_text(text)
            print(f"filled in {page.relative_to(DOCS)}")
