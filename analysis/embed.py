"""A figure as bytes, for a page or a notebook that has it inside."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.figures import STYLE


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The picture as PNG: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
