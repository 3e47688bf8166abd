"""MNAD, memory-guided video anomaly detection: data, models, training, scoring and the command ``mnad``."""

from mnad_ext import __version__

__all__ = ["__version__"]
