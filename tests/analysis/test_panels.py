"""Where panels stand: the paper's order, gaps, and every task exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.io.rows import quality
from analysis.plots.style import PER_ROW, layout, wrap
from tests.support.synthetic_studies import TWELVE


def test_twelve_tasks_stand_as_in_the_papers_figure_1() -> None:
    qualities = ("medium-expert", "medium-replay", "medium", "random")
    expected = [[f"d4rl:{env}-{q}-v2" for q in qualities] for env in ("halfcheetah", "walker2d", "hopper")]
    assert layout(sorted(TWELVE)) == expected


def test_a_missing_task_leaves_its_place_empty() -> None:
    without = [name for name in sorted(TWELVE) if name != "d4rl:walker2d-medium-v2"]
    assert layout(without)[1][2] is None
    assert sum(name is not None for row in layout(without) for name in row) == 11


def test_few_tasks_stay_in_one_row_as_given_and_others_wrap() -> None:
    assert layout(["self:b-medium", "self:a-low"]) == [["self:b-medium", "self:a-low"]]
    five = [f"self:task{i}-medium" for i in range(5)]
    assert layout(five) == [five[:4], [five[4], None, None, None]]


def test_two_versions_of_a_task_are_two_panels() -> None:
    versions = [f"d4rl:{env}-medium-v{v}" for env in ("hopper", "walker2d") for v in (0, 2)]
    names = [*versions, "d4rl:hopper-random-v2", "d4rl:walker2d-random-v2"]
    assert sorted(name for row in layout(names) for name in row if name) == sorted(names)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("d4rl:hopper-medium-expert-v2", "medium-expert"),
        ("self:inverted_double_pendulum-medium-replay", "medium-replay"),
        ("minari:mujoco/hopper/medium-v0", "medium"),
        ("none:hopper", ""),
    ],
)
def test_quality_of_an_id(dataset: str, expected: str) -> None:
    assert quality(dataset) == expected


names = st.builds(
    "self:{}-{}".format, st.sampled_from("abcdef"), st.sampled_from(["low", "medium", "random", "x", "y"])
)


@given(st.lists(names, min_size=1, unique=True))
def test_every_task_has_one_panel_and_rows_are_equally_long(datasets: list[str]) -> None:
    for rows in (layout(datasets), wrap(datasets)):
        assert sorted(name for row in rows for name in row if name is not None) == sorted(datasets)
        assert len({len(row) for row in rows}) == 1
        assert len(rows[0]) <= PER_ROW + 2
