"""How the methods of one study are drawn: fixed looks, the scale of a sweep, or their points on two axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import seaborn

from analysis.methods import BLACK, IMPORTED, REFERENCES, looks
from analysis.rows import Study
from analysis.sweeps import sweeps

LINES = ("-", "--", "-.", ":")


class Drawn(NamedTuple):
    """A colour (RGB), matplotlib's name of a line style, and the words in the legend."""

    colour: tuple[float, float, float]
    line: str
    label: str


def drawn_as(study: Study) -> dict[str, Drawn]:
    """Every method of the study with its look, in the order of the legend.

    If all variants are one sweep they go from light to dark and are named by their values. If they are the product of
    two axes, the larger axis has the colours and the other one the lines. Else each has its fixed look.
    """
    fixed = {method: Drawn(*look, method) for method, look in looks(study.methods, study.main).items()}
    variants = {method for method in fixed if method not in REFERENCES and not method.endswith(IMPORTED)}
    own = _by_value(study, variants) or _by_axes(study, variants)
    return own | {method: look for method, look in fixed.items() if method not in own}


def _by_value(study: Study, variants: set[str]) -> dict[str, Drawn]:
    """The looks of a sweep of all variants; none without one."""
    whole = [sweep for sweep in sweeps(study) if sweep.values.keys() == variants]
    if len(whole) != 1:
        return {}
    (sweep,) = whole
    scale = seaborn.color_palette("viridis_r", len(variants) + 1)[1:]  # its first is too pale
    own = {}
    for method, colour in zip(sweep.values, scale, strict=True):
        marked = " (reference)" if method == sweep.reference else ""
        own[method] = Drawn(tuple(colour), "-", f"{sweep.symbol} = {sweep.text(method)}{marked}")
    return own


def _by_axes(study: Study, variants: set[str]) -> dict[str, Drawn]:
    """The looks of the product of two axes of the manifest; none if they do not tell all variants apart."""
    axes = study.manifest.get("axes")
    if not isinstance(axes, Mapping) or not variants <= axes.keys():
        return {}
    points: dict[str, list[Any]] = {}  # axis -> its points, in the order of the study's file
    for variant, place in axes.items():
        for axis, point in place.items() if variant in variants else ():
            points.setdefault(axis, []).append(point)
    distinct = {axis: list(dict.fromkeys(found)) for axis, found in points.items()}
    if len(distinct) != 2:
        return {}
    first, second = sorted(distinct, key=lambda axis: -len(distinct[axis]))
    colours, lines = distinct[first], distinct[second]
    if len(colours) > BLACK or len(lines) > len(LINES):
        return {}
    palette = seaborn.color_palette("colorblind", BLACK)
    return {
        variant: Drawn(tuple(palette[colours.index(place[first])]), LINES[lines.index(place[second])], variant)
        for variant, place in axes.items()
        if variant in variants
    }
