"""What a figure shows."""

from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from analysis.io.methods import method_label

T = TypeVar("T")


def sure(found: T | None) -> T:
    """What is there: the figure and caption of rows that allow it, an interval of two runs."""
    assert found is not None
    return found


def labels(figure: Figure) -> list[str]:
    """The entries of its legend, then what is named at the ends of lines, from the bottom to the top."""
    entries = [entry.get_text() for legend in figure.legends for entry in legend.get_texts()]
    texts = [text for axis in figure.axes for text in axis.texts if isinstance(text, Annotation) and text.arrow_patch]
    return entries + [text.get_text() for text in texts]


def line(axis: Axes, label: str) -> tuple[list[float], list[float]]:
    """The points, x and y, of the first line with this label, or of this method."""
    found = next(line for line in axis.get_lines() if line.get_label() in (label, method_label(label)))
    return np.asarray(found.get_xdata(), dtype=float).tolist(), np.asarray(found.get_ydata(), dtype=float).tolist()
