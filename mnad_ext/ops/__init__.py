"""The operators, one file each: the public function and its rules for tracing, gradients and autocast."""

from mnad_ext.ops.assign_top2 import assign_top2
from mnad_ext.ops.checkpointing import gather_, keep_items
from mnad_ext.ops.memory_read import memory_read
from mnad_ext.ops.memory_step import MemoryStep, memory_step
from mnad_ext.ops.memory_update import memory_update, update_items, update_statistics

__all__ = [
    "MemoryStep",
    "assign_top2",
    "gather_",
    "keep_items",
    "memory_read",
    "memory_step",
    "memory_update",
    "update_items",
    "update_statistics",
]
