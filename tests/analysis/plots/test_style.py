"""Where panels stand: the paper's order, gaps, and every task exactly once."""

from hypothesis import given
from hypothesis import strategies as st

from analysis.plots.style import layout, wrap
from tests.support.synthetic_studies import TWELVE

qualities = st.sampled_from(["low", "medium", "random", "x", "y"])
names = st.builds("d4rl:{}-{}-v{}".format, st.sampled_from("abcdef"), qualities, st.sampled_from([0, 2]))


def test_twelve_tasks_stand_as_in_the_papers_figure_1() -> None:
    qualities = ("medium-expert", "medium-replay", "medium", "random")
    expected = [[f"d4rl:{env}-{q}-v2" for q in qualities] for env in ("halfcheetah", "walker2d", "hopper")]
    assert layout(sorted(TWELVE)) == expected


@given(st.lists(names, min_size=1, unique=True), st.integers(1, 5))
def test_every_task_has_one_panel_and_rows_are_equally_long(datasets: list[str], columns: int) -> None:
    for rows in (layout(datasets, columns), wrap(datasets, columns)):
        assert sorted(name for row in rows for name in row if name is not None) == sorted(datasets)
        assert len({len(row) for row in rows}) == 1
        assert len(rows[0]) <= columns
