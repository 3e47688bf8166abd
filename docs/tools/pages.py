"""What a Markdown page holds: its fenced code blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its text without the fence's indentation, and its first line in the page."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order."""
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        indent, language, body = fence.groups()
        line = text[: fence.start(3)].count("\n") + 1
        found.append(Block(language, re.sub(f"^{indent}", "", body, flags=re.MULTILINE), line))
    return found


def commands(block: Block) -> list[list[str]]:
    """Returns the arguments of every call of ``mnad``, or ``-m mnad.cli``; lines that end in a backslash go on."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    calls = [(line, next((at for at, word in enumerate(line) if word in ("mnad", "mnad.cli")), None)) for line in words]
    return [line[at + 1 :] for line, at in calls if at is not None]
