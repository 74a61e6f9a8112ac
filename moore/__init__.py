"""MOORe: model-based offline-to-online reinforcement learning (arXiv 2201.10070), on a leading axis of runs."""

__version__ = "0.1.0"
