"""The last lines of a reproduction: 45 of 80 columns at most, with every method, task, claim and mark that fits."""

import re
from pathlib import Path

import pytest

from analysis.claims.claims import load_claims
from analysis.io.rows import RESULTS, load_study, study_folders
from analysis.output.summary import LINES, WIDTH, published_rows, summary
from tests.support.studies import LOW, MEDIUM, flat, full_study, make_study, write_study
from tests.support.synthetic_studies import METHODS, TWELVE, study, sweep, with_rows

END = ["Pictures  build/toy", "Rows      build/results/toy/rows.parquet"]
LEVELS = [50.0, 51.0, 49.0, 52.0, 48.0]


@pytest.mark.parametrize(
    ("methods", "tasks", "by"), [(13, 12, 5.0), (13, 4, 1e-9), (13, 4, 0.0), (2, 12, 0.0), (2, 1, 5.0)]
)
def test_fits_whatever_the_study(methods: int, tasks: int, by: float) -> None:
    made = study(METHODS[:methods], TWELVE[:tasks])
    online = (made.rows["phase"] == "online") & (made.rows["metric"] == "eval/score")
    published = with_rows(made, made.rows.assign(value=made.rows["value"] + by * online))
    lines = summary(made, published, END)
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    for claim in load_claims():
        about = not claim.sentence.startswith("(MOORe+")  # predictions about a study that this one is not
        assert any(claim.sentence[:20] in line for line in lines) == about
    assert lines[-2:] == END
    shown = [line.split()[0] for line in lines if re.search(r"±\d", line)]
    assert any("mean over" in line for line in lines) == (tasks > 1)
    if tasks <= 4:
        assert shown == list(METHODS[:methods])


def test_a_sweep_fits() -> None:
    lines = summary(sweep(), None, END)
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH


def test_every_published_study_fits_and_is_its_own_reproduction() -> None:
    """Breaks if a published study is not bit-equal to itself, or its table does not fit whole."""
    for folder in study_folders(RESULTS, ["paper-methods-mini", "locomotion-laptop-reduced"]):
        made = load_study(folder)
        lines = summary(made, published_rows(made.name), END)
        cells = len(made.datasets) * len(made.methods)
        assert sum(line.count("=") for line in lines) == cells + 1
        assert f"({cells})" in " ".join(lines)
        assert {line.split()[0] for line in lines if line} >= set(made.methods)


def test_a_cell() -> None:
    """Breaks if ours and published are exchanged, the best has no star, or the furthest cell is another."""
    ours = make_study(flat("moore", LOW, LEVELS, 20.0) + flat("awac", LOW, [30.0, 31.0, 29.0, 30.0, 30.0], 10.0))
    theirs = make_study(flat("moore", LOW, LEVELS, 20.0) + flat("awac", LOW, [40.0, 41.0, 39.5, 40.0, 40.0], 10.0))
    lines = summary(ours, theirs, [])
    (moore,) = [line for line in lines if line.startswith("moore")]
    (awac,) = [line for line in lines if line.startswith("awac")]
    assert moore.split()[1] == "*20.0→50.0±2.0=50.0"
    assert awac.split()[1] == "10.0→30.0±0.9≠40.1"
    assert f"Furthest off: awac on {LOW}, -10.1" in " ".join(lines)


@pytest.mark.parametrize("files", [{"manifest.json": "{}"}, {"manifest.json": "{", "rows.parquet": ""}])
def test_damaged_published_rows_are_said_and_left_out(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a bad folder beside it ends hours of training in an error, or is left out silently."""
    monkeypatch.setattr("analysis.output.summary.RESULTS", tmp_path)
    (tmp_path / "toy").mkdir()
    for name, text in files.items():
        (tmp_path / "toy" / name).write_text(text, encoding="utf-8")
    write_study(tmp_path / "fine", full_study(2))
    assert published_rows("toy") is None
    assert re.fullmatch(rf"moore: warning: {tmp_path}/toy/\S+: .+\n", capsys.readouterr().err)
    assert published_rows("fine") is not None
    assert capsys.readouterr().err == ""


def test_without_published_rows_it_says_so() -> None:
    text = " ".join(summary(make_study(flat("moore", LOW, LEVELS)), None, []))
    assert "Nothing published" in text
    assert "NOT FOR CITING" not in text
    assert "NOT FOR CITING" in " ".join(summary(make_study(flat("moore", MEDIUM, LEVELS), scale="quick"), None, []))
