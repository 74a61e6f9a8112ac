"""What a figure shows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def shown(drawn: tuple[Figure, str] | None) -> tuple[Figure, str]:
    """The figure and caption of rows that allow it."""
    assert drawn is not None
    return drawn


def labels(figure: Figure) -> list[str]:
    """The entries of its legend."""
    return [entry.get_text() for entry in figure.legends[0].get_texts()]


def line(axis: Axes, label: str) -> tuple[list[float], list[float]]:
    """The points, x and y, of the first line with this label."""
    found = next(line for line in axis.get_lines() if line.get_label() == label)
    return np.asarray(found.get_xdata(), dtype=float).tolist(), np.asarray(found.get_ydata(), dtype=float).tolist()
