"""Looks: fixed for a method, apart for everybody, by value in a sweep."""

import itertools
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb

from analysis.io.methods import MOORE, ORDER, ordered
from analysis.io.rows import RESULTS, load_study, study_folders
from analysis.output.notes import notes
from analysis.plots.looks import DASHES, HIGHLIGHTED, LOOKS, drawn_as, looks
from analysis.plots.view import GREY, view
from tests.support.method_studies import ALL
from tests.support.synthetic_studies import NAMES, sweep, variants

TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB
DEFICIENCIES = {
    "none": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(colour: tuple[float, float, float], deficiency: str) -> npt.NDArray[np.float64]:
    """CIELAB of an sRGB colour as somebody with the deficiency sees it."""
    c = np.array(colour)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    xyz = np.array(TO_XYZ) @ seen / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(one: Any, other: Any, deficiency: str) -> float:
    """The CIELAB distance of two of matplotlib's colours, for somebody with the deficiency."""
    return float(np.linalg.norm(lab(to_rgb(one), deficiency) - lab(to_rgb(other), deficiency)))


def seen(methods: Iterable[str], first: str = "") -> dict[str, tuple[object, object]]:
    """Colour and line of every method."""
    return {name: (look.colour, look.line) for name, look in looks(methods, first).items()}


def test_every_method_that_ships_has_a_place_and_a_look() -> None:
    assert [name for name in ALL if name not in ORDER] == []
    assert [name for name in ALL if name not in LOOKS] == []


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_methods_with_the_same_dash_have_colours_that_everybody_can_tell_apart(deficiency: str) -> None:
    """A CIELAB distance of 10 is seen at a glance, 2.3 is just noticeable; lines are thin, so 20."""
    drawn_as = looks([*(name for name in LOOKS if name != "prioritized"), *(f"variant {i}" for i in range(20))])
    for one, other in itertools.combinations(drawn_as, 2):
        if drawn_as[one].line == drawn_as[other].line:
            assert difference(drawn_as[one].colour, drawn_as[other].colour, deficiency) > 20, (one, other)


@pytest.mark.parametrize("name", [folder.name for folder in study_folders()])
def test_lines_of_a_published_study_that_share_a_panel_differ_in_colour_or_dash(name: str) -> None:
    """Breaks if the highlighted lines of any figure in git look alike to somebody."""
    study = load_study(RESULTS / name)
    drawn = view(study).lines
    shown = {method: look for method, look in drawn.items() if look != GREY}
    assert len(shown) <= HIGHLIGHTED
    for one, other in itertools.combinations(shown, 2):
        distance = min(difference(shown[one].colour, shown[other].colour, kind) for kind in DEFICIENCIES)
        assert distance > 20 or shown[one].line != shown[other].line, (one, other, distance)
        if len(study.manifest.get("axes") or {}) == 0:  # else colours are values, and neighbours are alike
            assert distance > 20, (one, other, distance)


def test_looks_are_fixed_per_method_and_differ() -> None:
    few, many = seen(["uniform", "sac"]), seen([*LOOKS, "decay 0.5", "decay 10"])
    assert few["uniform"] == many["uniform"]
    assert few["sac"] == many["sac"]
    assert many.pop(MOORE) == many["prioritized"]  # one method under two names
    assert len(set(many.values())) == len(many)
    assert ordered(["sac", "decay 10", "decay 0.5", "uniform"]) == ["uniform", "decay 0.5", "decay 10", "sac"]


@pytest.mark.parametrize("count", [4, 20, 28])
def test_variants_without_a_fixed_look_differ_and_the_first_looks_like_moore(count: int) -> None:
    names = [f"variant {i}" for i in range(count)]
    drawn = seen(names, "variant 3")
    assert len(set(drawn.values())) == count
    assert drawn["variant 3"] == seen([MOORE])[MOORE]
    beside = seen([*names, *LOOKS], "variant 3")
    assert {name: beside[name] for name in LOOKS} == seen(LOOKS)
    assert len({beside[name] for name in [*names, *LOOKS]}) == count + len(LOOKS) - 1  # MOORe has two names


def test_a_sweeps_curves_go_from_light_to_dark_and_are_named_by_value() -> None:
    made = sweep(epochs=0, diagnosed=())
    looks = drawn_as(made)
    assert list(looks) == NAMES
    shades = [np.dot(look.colour, (0.299, 0.587, 0.114)) for look in looks.values()]  # luma
    assert all(a > b + 0.01 for a, b in pairwise(shades))
    labels = ["α = 0.1", "α = 0.25", "α = 0.5", "α = 1 (MOORe)", "α = 2", "α = 4", "α = 10"]  # noqa: RUF001
    assert [look.label for look in looks.values()] == labels
    assert len({look.line for look in looks.values()}) == 3
    assert "Light to dark: `sampling.decay_rate` from 0.1 to 10, in the reference 1." in notes(made)


def test_a_product_of_two_axes_has_colours_for_one_and_lines_for_the_other() -> None:
    points = [(a, b) for a in ("constant", "linear", "adaptive") for b in ("max", "mean")]
    axes = {f"{a}-{b}": {"schedule": a, "uncertainty": b} for a, b in points}
    looks = drawn_as(variants({name: {} for name in axes}, axes=axes))
    assert len({looks[f"{a}-max"].colour for a, _ in points}) == 3
    assert looks["linear-max"].colour == looks["linear-mean"].colour
    assert {looks[name].line for name in axes if name.endswith("-max")} == {DASHES["solid"]}
    assert {looks[name].line for name in axes if name.endswith("-mean")} == {DASHES["dashed"]}
