"""Memory-guided normality: the memory module of MNAD as fast torch operators."""

from mnad_ext._version import __version__
from mnad_ext.memory import MemoryModule, MemoryOutput
from mnad_ext.reference import assign_top2, memory_read, memory_update, update_items, update_statistics
from mnad_ext.statistics import UPDATE_RULES, UpdateRule, UpdateStatistics

__all__ = [
    "UPDATE_RULES",
    "MemoryModule",
    "MemoryOutput",
    "UpdateRule",
    "UpdateStatistics",
    "__version__",
    "assign_top2",
    "memory_read",
    "memory_update",
    "update_items",
    "update_statistics",
]
