"""What a format of graphs is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mnad.graphs.recording import Recorded
from mnad.runtime.errors import ConfigError

Array = NDArray[Any]


class Graph(ABC):
    """A graph that a runtime executes on the CPU."""

    @abstractmethod
    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Returns the outputs, each an array of its own, in the order in which they were recorded."""


class Format(ABC):
    """A format of graphs, with the runtime that executes it.

    Attributes:
        modules: What must be imported.
        extra: Of this package, which installs that.
    """

    modules: tuple[str, ...] = ()
    extra: str = ""

    @abstractmethod
    def save(self, graph: Recorded, stem: Path, metadata: Mapping[str, str]) -> None:
        """Writes a graph.

        Args:
            graph: What was recorded.
            stem: The path of its files, without a suffix.
            metadata: What the graph is to say of itself.
        """

    @abstractmethod
    def open(self, stem: Path, threads: int) -> Graph:
        """Reads what :meth:`save` wrote, to be executed by so many threads."""

    @abstractmethod
    def compile(self, graph: Recorded, threads: int) -> Graph:
        """Makes what was recorded executable by so many threads, without a file."""

    def check_installed(self) -> None:
        """Makes sure that its modules can be imported.

        Raises:
            ConfigError: If one cannot; the message says how to install it.
        """
        for module in self.modules:
            try:
                import_module(module)
            except ImportError as error:
                raise ConfigError(
                    f"{module} cannot be imported ({error}); install it with: pip install 'mnad-ext[{self.extra}]'"
                ) from error
