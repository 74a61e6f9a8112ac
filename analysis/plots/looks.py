"""How methods are drawn: a fixed look in every figure, the scale of a sweep, or their points on two axes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import seaborn

from analysis.io.methods import IMPORTED, MOORE, PRIORITIZED, REFERENCES, ordered
from analysis.io.rows import Results
from analysis.stats.sweeps import sweeps

LINES = ("-", "--", "-.", ":")
BLACK = 10
# (colour, line): positions in seaborn's "colorblind" palette (ten colours, after Wong, Nature Methods 8:441, 2011) or
# BLACK. Eleven colours are too few, so the lines differ too: two methods with the same line have colours that stay
# apart in simulated colour blindness. Dashed methods have no offline stage.
LOOKS = {
    MOORE: (0, "-"), PRIORITIZED: (0, "-"), "uniform": (1, "-"), "half_half": (2, "-"), "pure_online": (3, "-"),
    "balanced_replay": (5, "-"), "awac": (BLACK, "-"), "mbpo_warm": (9, "-"),
    "iql": (3, "-."), "cal_ql": (2, "-."), "cql_sac": (4, "-."), "td3_bc": (BLACK, "-."),
    "wsrl": (1, ":"), "mopo_naive": (5, ":"), "mopo": (7, ":"),
    "rlpd": (3, "--"), "sac": (4, "--"), "mbpo": (9, "--"),
}  # fmt: skip
# for methods that are not in it, such as the variants of an ablation: with each of them, too, everybody can tell
SPARE = tuple((colour, line) for line in ("-", "-.", ":") for colour in (0, 1, 2, 3, BLACK, 9, 5))


class Drawn(NamedTuple):
    """A colour (RGB, or a name of matplotlib's), matplotlib's name of a line style, and the words in the legend."""

    colour: Any
    line: str
    label: str


def looks(methods: Iterable[str], first: str = "") -> dict[str, Drawn]:
    """Find a look for each method: fixed if in `LOOKS`, else the next of `SPARE` that none has, `first` before all.

    Too many for that come from a light-to-dark sequence in which the lines of neighbours differ.
    """
    names = ordered(methods)
    palette = [*seaborn.color_palette("colorblind", BLACK), (0.0, 0.0, 0.0)]
    others = sorted((name for name in names if name not in LOOKS), key=lambda name: name != first)
    taken = {LOOKS[name] for name in names if name in LOOKS}
    free = [place for place in SPARE if place not in taken]
    places = LOOKS | dict(zip(others, free, strict=False))
    if len(others) > len(free):
        scale = seaborn.color_palette("viridis", len(others) + 1)  # its last is too pale
        places |= {name: (len(palette) + i, ("-", "-.", ":")[i % 3]) for i, name in enumerate(others)}
        palette += scale
    return {name: Drawn(tuple(palette[places[name][0]]), places[name][1], name) for name in names}


def drawn_as(study: Results, among: Iterable[str] | None = None) -> dict[str, Drawn]:
    """Find the look of every method of the study, or of those `among` it, in the order of the legend.

    If all variants are one sweep they go from light to dark and are named by their values. If they are the product of
    two axes, the larger axis has the colours and the other one the lines. Else each has its fixed look.
    """
    fixed = looks(study.methods, study.main)
    variants = {method for method in fixed if method not in REFERENCES and not method.endswith(IMPORTED)}
    own = _by_value(study, variants) or _by_axes(study, variants)
    drawn = own | {method: look for method, look in fixed.items() if method not in own}
    shown = set(drawn if among is None else among)
    return {method: look for method, look in drawn.items() if method in shown}


def _by_value(study: Results, variants: set[str]) -> dict[str, Drawn]:
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


def _by_axes(study: Results, variants: set[str]) -> dict[str, Drawn]:
    """The looks of the product of two axes of the manifest; none if they do not tell all variants apart."""
    axes = study.manifest.get("axes", {})
    places = {variant: place for variant, place in axes.items() if variant in variants}
    names = dict.fromkeys(axis for place in places.values() for axis in place)  # in the order of the study's file
    points = {axis: list(dict.fromkeys(place[axis] for place in places.values() if axis in place)) for axis in names}
    if not variants <= axes.keys() or len(points) != 2:
        return {}
    first, second = sorted(points, key=lambda axis: -len(points[axis]))
    colours, lines = points[first], points[second]
    if len(colours) > BLACK or len(lines) > len(LINES):
        return {}
    palette = seaborn.color_palette("colorblind", BLACK)
    return {
        variant: Drawn(tuple(palette[colours.index(place[first])]), LINES[lines.index(place[second])], variant)
        for variant, place in places.items()
    }
