"""The report's experiments: tables and figures, each a list of runs."""

from mnad.reproduction.reproduce import EXPERIMENTS, ExperimentName, ReproduceConfig, reproduce
from mnad.reproduction.results import Result

__all__ = ["EXPERIMENTS", "ExperimentName", "ReproduceConfig", "Result", "reproduce"]
