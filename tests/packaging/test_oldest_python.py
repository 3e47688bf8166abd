"""What Python 3.10 refuses, though neither ruff nor mypy says so. Tests run on a later one."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ("python", "mnad_ext", "build_tools") for file in (ROOT / folder).rglob("*.py"))


def generic_named_tuples(source: str) -> list[str]:
    """Returns the classes that are a NamedTuple and Generic, which no class could be before Python 3.11."""
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    bases = {node.name: [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases] for node in classes}
    return [name for name, names in bases.items() if {"NamedTuple", "Generic"} <= set(names)]


def test_one_is_found() -> None:
    source = "class A(NamedTuple, typing.Generic[T]): pass\nclass B(NamedTuple): pass"
    assert generic_named_tuples(source) == ["A"]


def test_no_named_tuple_is_generic() -> None:
    found = {file.name: generic_named_tuples(file.read_text()) for file in FILES}
    assert len(found) > 100
    assert [name for name, classes in found.items() if classes] == []
