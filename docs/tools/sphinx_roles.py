"""A Griffe extension: Sphinx roles in docstrings, such as :func:`NAME`, become links where the site has the name."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod):`~?([\w.]+)`")


class SphinxRoles(griffe.Extension):
    """Writes every role as a reference that mkdocs-autorefs may leave as plain text."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(lambda role: _link(role[1], obj), obj.docstring.value)


def _link(name: str, obj: griffe.Object) -> str:
    path = name
    if "." not in name:  # a member of the object, of its class or of its module
        scope = obj if obj.is_class or obj.is_module else obj.parent
        while scope is not None and name not in scope.members:
            scope = scope.parent
        path = name if scope is None else f"{scope.path}.{name}"
    return f'<autoref optional identifier="{path}"><code>{name}</code></autoref>'
