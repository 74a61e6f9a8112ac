"""Where panels stand: the paper's order, gaps, and every task exactly once."""

from hypothesis import given
from hypothesis import strategies as st

from analysis.plots.style import layout, wrap
from tests.support.synthetic_studies import TWELVE

names = st.builds(
    "self:{}-{}".format, st.sampled_from("abcdef"), st.sampled_from(["low", "medium", "random", "x", "y"])
)


def test_twelve_tasks_stand_as_in_the_papers_figure_1() -> None:
    qualities = ("medium-expert", "medium-replay", "medium", "random")
    expected = [[f"d4rl:{env}-{q}-v2" for q in qualities] for env in ("halfcheetah", "walker2d", "hopper")]
    assert layout(sorted(TWELVE)) == expected


def test_two_versions_of_a_task_are_two_panels() -> None:
    versions = [f"d4rl:{env}-medium-v{v}" for env in ("hopper", "walker2d") for v in (0, 2)]
    names = [*versions, "d4rl:hopper-random-v2", "d4rl:walker2d-random-v2"]
    assert sorted(name for row in layout(names) for name in row if name) == sorted(names)


@given(st.lists(names, min_size=1, unique=True), st.integers(1, 5))
def test_every_task_has_one_panel_and_rows_are_equally_long(datasets: list[str], columns: int) -> None:
    for rows in (layout(datasets, columns), wrap(datasets, columns)):
        assert sorted(name for row in rows for name in row if name is not None) == sorted(datasets)
        assert len({len(row) for row in rows}) == 1
        assert len(rows[0]) <= columns
