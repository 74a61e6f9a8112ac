"""Every figure that the rows allow, one at a time or all, the same bytes twice, readable in a column."""

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from analysis.io.rows import Results
from analysis.plots.figures import FIGURES, draw, drawings, save
from moore.base.errors import UserError
from moore.cli.plot import FigureName
from tests.support.studies import full_study, make_study
from tests.support.synthetic_studies import RATES, TWELVE, study


@pytest.fixture(scope="module")
def complete() -> Results:
    """A study that has everything a figure needs: a sweep, diagnostics, costs, two tasks."""
    names = {f"decay_rate-{rate:g}": {"sampling.decay_rate": rate} for rate in RATES[:4]}
    made = study([*names], TWELVE[:2], 2, names, diagnosed=[*names], evaluations=5, reference="decay_rate-1")
    made.manifest["run_cpu_seconds"] = dict.fromkeys(made.rows["run"].unique(), 60.0)  # type: ignore[index]
    return made


def test_every_figure_is_drawn_where_the_rows_allow_it(complete: Results) -> None:
    assert [name for name, _, _ in drawings(complete)] == list(FIGURES)
    assert [*FigureName.__args__] == list(FIGURES)  # type: ignore[attr-defined]


def test_a_study_without_an_online_stage_has_no_figures() -> None:
    made = make_study([entry for entry in full_study(2) if entry["phase"] == "offline"], online_steps=None)
    assert list(drawings(made)) == []
    with pytest.raises(UserError, match="study toy: figure curves: its rows do not have"):
        draw(made)


@pytest.mark.parametrize("end", [".pdf", ".png", ".svg"])
def test_the_same_figure_has_the_same_bytes(complete: Results, tmp_path: Path, end: str) -> None:
    for name in ("curves", "uncertainty"):
        files = [tmp_path / folder / f"{name}{end}" for folder in ("a", "b")]
        for file in files:
            save(draw(complete, name)[0], file)
        assert files[0].read_bytes() == files[1].read_bytes()
        assert end != ".pdf" or (b"/Type3" not in files[0].read_bytes() and b"/FontFile2" in files[0].read_bytes())


@pytest.mark.parametrize("name", FIGURES)
def test_in_a_column_all_text_is_inside_and_large_enough(complete: Results, name: str) -> None:
    """Breaks if a label is cut off at the edge, or smaller than 5 points, at 3.25 inches."""
    figure, _ = draw(complete, name, width=3.25)
    width, height = figure.get_size_inches() * figure.dpi
    assert width == pytest.approx(3.25 * figure.dpi)
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    parts = [*figure.axes, *figure.texts, *figure.legends]
    for part, box in [(part, part.get_tightbbox(renderer)) for part in parts]:
        assert box is not None
        assert box.x0 >= -1, part
        assert box.y0 >= -1, part
        assert box.x1 <= width + 1, part
        assert box.y1 <= height + 1, part
    assert min(float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text()) >= 5


@pytest.mark.parametrize(
    ("figure", "choices", "message"),
    [
        ("chart", {}, "--figure: 'chart' is unknown; accepted: curves, "),
        ("iqm", {"x": "wall"}, "--x: wall is of learning curves alone"),
        ("forest", {"seeds": True}, "--seeds: True is of learning curves alone"),
        ("curves", {"methods": ["sac"]}, "--methods: 'sac' is not in this study; accepted: decay_rate-0.1"),
        ("curves", {"tasks": ["hopper"]}, "--tasks: 'hopper' is not in this study"),
        ("curves", {"labels": {"sac": "S"}}, "--labels: 'sac' is not in this study"),
        ("curves", {"width": 2.0}, "--width: 2 is not accepted; expected 3.25 to 20 inches"),
        ("curves", {"y": "return"}, "figure curves: its rows do not have what this needs"),
    ],
)
def test_a_wrong_choice_is_one_clear_line(complete: Results, figure: str, choices: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw(complete, figure, **choices)


def test_another_ending_is_refused(complete: Results, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--out: .*x.jpg: ending '.jpg' is not accepted; expected .pdf, .png, .svg"):
        save(draw(complete)[0], tmp_path / "x.jpg")
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="--out: cannot write"):
        save(draw(complete)[0], tmp_path / "taken" / "x.pdf")
