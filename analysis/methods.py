"""Names, order and looks of the methods: one place, so that a method looks the same in every table and figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOORE = "moore"  # in a study of methods
PRIORITIZED = "prioritized"  # the same method in a study of sampling strategies
OFFLINE_STAGE = "mopo"  # method column of MOPO's offline rows; online rows of that name are MOPO frozen
# Trained from scratch: no offline stage and no dataset, so shown beside every dataset of their environment.
REFERENCES = ("sac", "mbpo")
SAMPLING = ("uniform", "half_half", "pure_online")  # MOORe with other sampling strategies
IMPORTED = " (imported)"  # ending of a method whose curves are other people's
ORDER = (
    MOORE, PRIORITIZED, *SAMPLING,
    "balanced_replay", "awac", "iql", "cal_ql", "cql_sac", "td3_bc", "rlpd", "wsrl", "mbpo_warm", "mopo_naive", "mopo",
    *REFERENCES,
)  # fmt: skip

OFFLINE_COLOUR = "0.45"
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


class Look(NamedTuple):
    """How a method is drawn: an RGB colour and matplotlib's name of a line style."""

    colour: tuple[float, float, float]
    line: str


def main_method(methods: Iterable[str]) -> str:
    """MOORe's own name in a study with these methods: the reference of every paired difference."""
    return MOORE if MOORE in set(methods) else PRIORITIZED


def ordered(methods: Iterable[str]) -> list[str]:
    """Unique methods: those of `ORDER`, others by name and number (0.5 before 10), references last."""

    def key(method: str) -> tuple[int, list[tuple[int, float, str]]]:
        pieces = re.split(r"(\d+(?:\.\d+)?)", method)
        natural = [(0, float(p), "") if p[:1].isdigit() else (1, 0.0, p) for p in pieces]
        if method in REFERENCES:
            return 2, [(0, float(REFERENCES.index(method)), "")]
        return (0, [(0, float(ORDER.index(method)), "")]) if method in ORDER else (1, natural)

    return sorted(set(methods), key=key)


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def looks(methods: Iterable[str], first: str = "") -> dict[str, Look]:
    """A look for each method: fixed if in `LOOKS`, else the next of `SPARE` that none of them has, `first` before all.

    Too many for that come from a light-to-dark sequence in which the lines of neighbours differ.
    """
    import seaborn  # here, not above: rebuilding a README table needs no plotting library

    names = ordered(methods)
    fixed = [*seaborn.color_palette("colorblind", BLACK), (0.0, 0.0, 0.0)]
    others = sorted((name for name in names if name not in LOOKS), key=lambda name: name != first)
    taken = {LOOKS[name] for name in names if name in LOOKS}
    free = [place for place in SPARE if place not in taken]
    if len(others) <= len(free):
        places = LOOKS | dict(zip(others, free, strict=False))
        return {name: Look(tuple(fixed[places[name][0]]), places[name][1]) for name in names}
    scale = seaborn.color_palette("viridis", len(others) + 1)  # its last is too pale
    sequence = {name: Look(tuple(scale[i]), ("-", "-.", ":")[i % 3]) for i, name in enumerate(others)}
    return {name: sequence.get(name) or Look(tuple(fixed[LOOKS[name][0]]), LOOKS[name][1]) for name in names}
