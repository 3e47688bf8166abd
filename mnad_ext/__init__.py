"""Memory-guided normality: the memory module of MNAD as fast torch operators."""

from mnad_ext._extension import BuildInfo, build_info
from mnad_ext._version import __version__
from mnad_ext.memory import MemoryModule, MemoryOutput
from mnad_ext.ops import (
    MemoryStep,
    assign_top2,
    memory_read,
    memory_step,
    memory_update,
    update_items,
    update_statistics,
)
from mnad_ext.statistics import UPDATE_RULES, UpdateRule, UpdateStatistics

__all__ = [
    "UPDATE_RULES",
    "BuildInfo",
    "MemoryModule",
    "MemoryOutput",
    "MemoryStep",
    "UpdateRule",
    "UpdateStatistics",
    "__version__",
    "assign_top2",
    "build_info",
    "memory_read",
    "memory_step",
    "memory_update",
    "update_items",
    "update_statistics",
]
