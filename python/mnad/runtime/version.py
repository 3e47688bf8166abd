"""The version of the distribution, which both packages share."""

from importlib.metadata import version

__version__ = version("mnad-ext")
