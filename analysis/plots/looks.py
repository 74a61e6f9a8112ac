"""How methods are drawn: one colour and one dash everywhere, the scale of a sweep, or their points on two axes."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from analysis.io.methods import IMPORTED, MOORE, PRIORITIZED, REFERENCES, method_label, ordered
from analysis.io.rows import Results
from analysis.stats.sweeps import sweeps
from analysis.stats.transfer import summarise

# After Okabe and Ito and Tol; any two are more than 20 apart in CIELAB for everybody, colour blind or not.
COLOURS = {
    "blue": "#0072B2", "orange": "#E69F00", "wine": "#882255", "green": "#80B860", "red": "#BB1133", "black": "#000000",
    "sky": "#56B4E9", "navy": "#332288",
}  # fmt: skip
DASHES: dict[str, Any] = {
    "solid": "-", "dashed": (0, (4, 1.5)), "dash-dot": (0, (5, 1.2, 1, 1.2)), "dotted": (0, (1, 1.1)),
    "dash-dot-dot": (0, (4, 1.2, 1, 1.2, 1, 1.2)), "long": (0, (8, 2)),
}  # fmt: skip
HIGHLIGHTED = 6  # lines in colour in a panel; the others are grey
LOOKS = {  # methods that usually share a figure differ in both
    MOORE: ("blue", "solid"), PRIORITIZED: ("blue", "solid"),
    "uniform": ("orange", "dashed"), "half_half": ("wine", "dash-dot"), "pure_online": ("green", "dotted"),
    "balanced_replay": ("orange", "dash-dot"), "awac": ("green", "dashed"), "mopo": ("wine", "dotted"),
    "sac": ("red", "dash-dot-dot"), "mbpo": ("black", "long"), "mbpo_warm": ("red", "dashed"),
    "rlpd": ("navy", "long"), "wsrl": ("sky", "dotted"), "cal_ql": ("black", "dash-dot"), "iql": ("sky", "long"),
    "cql_sac": ("green", "dash-dot-dot"), "td3_bc": ("red", "dash-dot"), "mopo_naive": ("wine", "long"),
    "moore_plus": ("navy", "solid"), "mbpo_plus": ("navy", "dashed"), "redq": ("black", "dotted"),
}  # fmt: skip
# for methods that are not in it; neighbours differ in both
SPARE = [
    (colour, [*DASHES][(index + shift) % len(DASHES)])
    for shift in range(1, len(DASHES) + 1)
    for index, colour in enumerate([*COLOURS][1:] + [*COLOURS][:1])
]


class Drawn(NamedTuple):
    """A colour of matplotlib's, its line style, and the words in the legend."""

    colour: Any
    line: Any
    label: str


def shades(count: int) -> list[tuple[float, ...]]:
    """Return colours from light to dark, without the palest of viridis."""
    import seaborn  # here: it takes a second, and only sweeps ask for it

    return list(seaborn.color_palette("viridis_r", count + 1)[1:])


def highlighted(study: Results) -> list[str]:
    """Name the methods in colour where lines share a panel: the reference, imports and the best final scores."""
    finals = summarise(study).groupby(["method", "dataset"])["final"].mean().groupby("method").mean()
    best = finals.reindex(ordered(study.methods)).sort_values(ascending=False, kind="stable").index
    first = [name for name in best if name == study.main or name.endswith(IMPORTED)]
    return [*first, *(name for name in best if name not in first)][:HIGHLIGHTED]


def looks(methods: Iterable[str], main: str = "", front: Sequence[str] = ()) -> dict[str, Drawn]:
    """Find a look for each method, in the order of the legend: fixed if in `LOOKS`, else the next free of `SPARE`.

    `main` looks like MOORe if MOORe is not there; `front` choose before the others, for colours of their own. Past all
    of `SPARE` looks repeat.
    """
    names = ordered(methods)
    places = dict(LOOKS)
    if main in names and not {MOORE, PRIORITIZED} & set(names):
        places[main] = LOOKS[MOORE]
    others = sorted((name for name in names if name not in places), key=lambda name: name not in front)
    taken = {LOOKS[MOORE], *(places[name] for name in names if name in places)}
    free = sorted((one for one in SPARE if one not in taken), key=lambda one: one[0] in {colour for colour, _ in taken})
    places |= {name: free[index % len(free)] for index, name in enumerate(others)}
    labels = [method_label(name) for name in names]
    return {
        name: Drawn(COLOURS[places[name][0]], DASHES[places[name][1]], label if labels.count(label) == 1 else name)
        for name, label in zip(names, labels, strict=True)
    }


def drawn_as(study: Results) -> dict[str, Drawn]:
    """Find the look of every method of the study, in the order of the legend.

    If all variants are one sweep they go from light to dark and are named by their values. If they are the product of
    two axes, the larger axis has the colours and the other one the dashes. Else each has its fixed look.
    """
    fixed = looks(study.methods, study.main, highlighted(study))
    variants = {method for method in fixed if method not in REFERENCES and not method.endswith(IMPORTED)}
    own = _by_value(study, variants) or _by_axes(study, variants)
    return own | {method: look for method, look in fixed.items() if method not in own}


def _by_value(study: Results, variants: set[str]) -> dict[str, Drawn]:
    """Return the looks of a sweep of all variants; none without one."""
    whole = [sweep for sweep in sweeps(study) if sweep.values.keys() == variants]
    if len(whole) != 1:
        return {}
    (sweep,), own = whole, {}
    for index, (method, colour) in enumerate(zip(sweep.values, shades(len(variants)), strict=True)):
        label = f"{sweep.symbol} = {sweep.text(method)}{' (MOORe)' * (method == sweep.reference)}"
        own[method] = Drawn(colour, DASHES[("solid", "dashed", "dotted")[index % 3]], label)
    return own


def _by_axes(study: Results, variants: set[str]) -> dict[str, Drawn]:
    """Return the looks of the product of two axes of the manifest; none if they do not tell all variants apart."""
    axes = study.manifest.get("axes", {})
    places = {variant: place for variant, place in axes.items() if variant in variants}
    names = dict.fromkeys(axis for place in places.values() for axis in place)  # in the order of the study's file
    points = {axis: list(dict.fromkeys(place[axis] for place in places.values() if axis in place)) for axis in names}
    if not variants <= axes.keys() or len(points) != 2:
        return {}
    first, second = sorted(points, key=lambda axis: -len(points[axis]))
    if len(points[first]) > len(COLOURS) or len(points[second]) > len(DASHES):
        return {}
    colours = dict(zip(points[first], COLOURS.values(), strict=False))
    dashes = dict(zip(points[second], DASHES.values(), strict=False))
    return {name: Drawn(colours[at[first]], dashes[at[second]], method_label(name)) for name, at in places.items()}
