"""MNAD, memory-guided video anomaly detection: data, models, training, scoring and the command ``mnad``."""

from importlib.metadata import version

__version__ = version("mnad-ext")
