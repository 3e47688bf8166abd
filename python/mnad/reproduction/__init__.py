"""The experiments of the paper, the reproducibility paper of 2021: its tables and figures."""

from mnad.reproduction.reproduce import EXPERIMENTS, ExperimentName, ReproduceConfig, reproduce
from mnad.reproduction.results import Result

__all__ = ["EXPERIMENTS", "ExperimentName", "ReproduceConfig", "Result", "reproduce"]
