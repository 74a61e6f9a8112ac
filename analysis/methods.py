"""Names, order and colours of the methods: one place, so that a method looks the same in every table and figure."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAIN = "prioritized"  # MOORe's own sampling strategy, the reference of every paired difference
OFFLINE_STAGE = "mopo"  # rows of the offline stage that all variants of one (dataset, seed) share
# Trained from scratch: no offline stage and no dataset, so shown beside every dataset of their environment.
REFERENCES = ("sac", "mbpo")
ORDER = (MAIN, "uniform", "half_half", "pure_online", *REFERENCES)

# Positions in seaborn's "colorblind" palette (ten colours, after Wong, Nature Methods 8:441, 2011).
COLOUR_INDEX = {MAIN: 0, "uniform": 1, "half_half": 2, "pure_online": 3, "sac": 4, "mbpo": 9}
OFFLINE_COLOUR = "0.45"


def ordered(methods: Iterable[str]) -> list[str]:
    """Unique methods: sampling strategies first, others by name and number (0.5 before 10), references last."""

    def key(method: str) -> tuple[int, list[tuple[int, float, str]]]:
        pieces = re.split(r"(\d+(?:\.\d+)?)", method)
        natural = [(0, float(p), "") if p[:1].isdigit() else (1, 0.0, p) for p in pieces]
        if method in REFERENCES:
            return 2, [(0, float(REFERENCES.index(method)), "")]
        return (0, [(0, float(ORDER.index(method)), "")]) if method in ORDER else (1, natural)

    return sorted(set(methods), key=key)


def colours(methods: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """A colour for each method: fixed if in `COLOUR_INDEX`, else from a light-to-dark sequence."""
    import seaborn  # here, not above: rebuilding a README table needs no plotting library

    names = ordered(methods)
    fixed = seaborn.color_palette("colorblind", 10)
    others = [name for name in names if name not in COLOUR_INDEX]
    sweep = dict(zip(others, seaborn.color_palette("viridis", len(others) + 1), strict=False))  # its last is too pale
    return {name: tuple(fixed[COLOUR_INDEX[name]] if name in COLOUR_INDEX else sweep[name]) for name in names}
