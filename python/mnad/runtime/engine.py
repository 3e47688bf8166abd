"""The option of where long work is done: by this process, or by a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mnad.runtime.choices import check_choice
from mnad.runtime.errors import ConfigError

EngineName = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where the work is done.

    Attributes:
        engine: local, this process alone; or ray, the devices of a Ray cluster, of which each takes videos in turn.
        address: Of the Ray cluster, HOST:PORT or auto; one is started on this machine, for this command, if left out
            and the variable RAY_ADDRESS does not name one.
    """

    engine: EngineName = "local"
    address: str | None = None

    def check_engine(self) -> None:
        """Checks that they fit each other.

        Raises:
            ConfigError: If they do not.
        """
        check_choice("engine", self.engine, EngineName)
        if self.address is not None and self.engine != "ray":
            raise ConfigError(f"address {self.address} is that of a Ray cluster; give --engine ray with it")
