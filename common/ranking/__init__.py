"""Ranks, metrics, protocols, intervals and result files. `rank_metrics` is the way in by hand."""

from common.ranking.metrics import rank_metrics

__all__ = ["rank_metrics"]
