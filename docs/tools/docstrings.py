"""A Griffe extension: makes docstrings that are written for Python's own tools read well on the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod):`~?([\w.]+)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Turns Sphinx roles into links where the site has the name, and doctests into examples."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites an object's docstring."""
        if obj.docstring is not None:
            linked = ROLE.sub(lambda role: _link(role[1], obj), obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", linked)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Lets an operator that a package exports mean the function, not the module of the same name."""
        for name, member in list(pkg.members.items()):
            if member.is_alias and member.target_path.startswith(f"{pkg.path}."):
                found = pkg[member.target_path.removeprefix(f"{pkg.path}.")]
                if found.is_module and name in found.members:
                    pkg.set_member(name, griffe.Alias(name, found.members[name], parent=pkg))


def _link(name: str, obj: griffe.Object) -> str:
    path = name
    if "." not in name:  # a member of the object, of its class or of its module
        scope = obj if obj.is_class or obj.is_module else obj.parent
        while scope is not None and name not in scope.members:
            scope = scope.parent
        path = name if scope is None else f"{scope.path}.{name}"
    return f'<autoref optional identifier="{path}"><code>{name}</code></autoref>'
