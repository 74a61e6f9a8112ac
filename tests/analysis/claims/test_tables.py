"""Verdicts counted over tasks and studies, and every comparison behind them."""

import re
from pathlib import Path

import pytest

from analysis.claims.claims import load_claims
from analysis.claims.tables import comparisons_table, main, verdicts_table
from analysis.claims.verdicts import check
from analysis.stats.transfer import summarise
from tests.support.drawn import sure
from tests.support.studies import LEVELS, LOW, column, flat, full_study, make_study, named, write_study


def test_there_is_one_verdict_for_every_claim_and_study() -> None:
    good = make_study(full_study(5))
    flat_lines = named(flat("half_half", LOW, LEVELS), "other")
    table = verdicts_table([good, flat_lines])
    assert column(table, "3.", 0) == ["toy: holds (2 comparisons)", "other: does not hold (1 comparison)"]
    assert column(table, "3.", 2) == ["toy: 20 runs, 280 rows", "other: 5 runs, 70 rows"]
    (lacking,) = column(table, "5.", 0)
    assert lacking.startswith("not enough data: needs `decay_rate-*` and MOORe")
    (effect,) = column(table, "4.", 1)[:1]
    smooth = sure(*(f.interval for f in check(good, load_claims()) if f.comparison.name == "uniform is smooth"))
    assert effect == f"uniform is smooth: {smooth.mean:.1f} [{smooth.low:.1f}, {smooth.high:.1f}]"
    runs = summarise(good)
    means = runs[runs["method"] == "uniform"].groupby("dataset")["early_drop"].mean()
    assert smooth.mean == pytest.approx(means.mean())
    assert any("not enough data" in note for note in table.notes)
    assert re.fullmatch(r"uncertainty falls online: 0\.\d\d \[0\.\d\d, 0\.\d\d\]", column(table, "6.", 1)[0])


def test_every_comparison_has_a_line_with_its_rows() -> None:
    study = make_study(full_study(5))
    claim = load_claims()[2]
    table = comparisons_table(claim, check(study, load_claims()))
    names = ["half_half drops at the switch", "pure_online drops at the switch"]
    assert [heads for heads, _ in table.rows] == [(name, "toy") for name in names]
    used = [[cell.parts[0][1] for cell in cells[-2:]] for _, cells in table.rows]
    assert used == [["2 of 2", "10 runs, 140 rows"]] * 2
    assert table.caption == "X drops at the switch = J_0 minus mean early score of X, above 5."


def test_the_command_prints_verdicts_and_comparisons_and_exits_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "toy", full_study(3))
    assert main(["--results", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for claim in load_claims():
        assert claim.sentence[-20:] in out
    assert "toy: holds (2 comparisons)" in out
    assert "half_half drops at the switch toy holds <0.001" in out
    assert "6 runs, 84 rows" in out
    assert "not enough data: needs" in out
