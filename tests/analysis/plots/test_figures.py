"""Every figure that the rows allow, the same bytes twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.io.rows import load_study
from analysis.output.report import tables
from analysis.plots.figures import DRAWINGS, drawings, save
from tests.support.drawn import shown
from tests.support.studies import full_study, make_study, write_study
from tests.support.synthetic_studies import TWELVE, study


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_study(tmp_path / "results" / "toy", full_study(3))
    return tmp_path / "results"


def test_a_study_without_an_online_stage_has_no_figures() -> None:
    rows = [entry for entry in full_study(2) if entry["phase"] == "offline"]
    assert list(drawings(make_study(rows, online_steps=None))) == []


def test_every_figure_that_the_rows_allow_is_drawn_and_repeats_its_bytes(tmp_path: Path) -> None:
    """The figures that the synthetic study of the report's test lacks are saved twice here, the others there."""
    made = study(("moore", "sac"), TWELVE[:2], seeds=2, evaluations=5)
    assert [name for name, _, _ in drawings(made)] == list(DRAWINGS)
    one = study(("moore",), TWELVE[:1], seeds=2, evaluations=5)
    for name in ("uncertainty_error", "model_error", "calibration", "rank_correlation"):
        for folder in ("a", "b"):
            drawn = shown(DRAWINGS[name](one))
            save(drawn[0], tmp_path / folder / name, drawn[1])
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
        assert file.suffix != ".pdf" or b"/Type3" not in file.read_bytes()


def test_captions_are_short(results: Path) -> None:
    """Two lines of a page: what is longer is a note."""
    from analysis.plots.figures import drawings

    study = load_study(results / "toy")
    texts = [table.caption for table in tables(study)] + [caption for _, _, caption in drawings(study)]
    assert [text for text in texts if len(text) > 280] == []
