"""Looking into a trained model: its queries, what its items stand for, and what its decoder needs."""

from mnad.analysis.embedding import Embedding, embed_pca, embed_tsne
from mnad.analysis.probe import FILLERS, Filler, Probe, probed
from mnad.analysis.restoration import RestoredFrame, middle_of_anomaly, restore
from mnad.analysis.samples import Queries, patches_of_item, sample_queries
from mnad.analysis.usage import Usage, perplexity, shares, usage_of

__all__ = [
    "FILLERS",
    "Embedding",
    "Filler",
    "Probe",
    "Queries",
    "RestoredFrame",
    "Usage",
    "embed_pca",
    "embed_tsne",
    "middle_of_anomaly",
    "patches_of_item",
    "perplexity",
    "probed",
    "restore",
    "sample_queries",
    "shares",
    "usage_of",
]
