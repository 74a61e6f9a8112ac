"""Other people's numbers: copied right, converted right, labelled, and only where tasks match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.io.published import PUBLISHED, load_published
from analysis.output.facts import published_table
from analysis.output.render import MISSING, to_csv, to_markdown
from analysis.output.report import tables
from analysis.output.tables import Table
from moore.base.errors import UserError
from tests.support.studies import Row, flat, make_study

REPLAY = "d4rl:halfcheetah-medium-replay-v2"
QUALITIES = ("medium-expert", "medium-replay", "medium", "random")
TWELVE = {f"{env}-{quality}" for env in ("halfcheetah", "hopper", "walker2d") for quality in QUALITIES}
# Printed below the tables of the OPT paper (sums) and of the PARS paper (means): they catch a mistyped entry.
OPT_SUMS = {
    "TD3": 752.4, "Off2On": 860.9, "OEMA": 694.6, "PEX": 588.8, "ACA": 738.5, "FamO2O": 504.4, "Cal-QL": 586.8,
    "TD3+OPT": 939.1, "IQL": 478.7,
}  # fmt: skip
PARS_MEANS = {"CQL": 64.1, "PEX": 67.2, "RLPD": 96.2, "Cal-QL": 66.3, "Uni-O4": 62.8, "PARS": 111.6}


def cells(table: Table, source: str, method: str) -> list[str]:
    """The Markdown cells of one row."""
    (line,) = [line for line in to_markdown(table).splitlines() if line.startswith(f"| {source} | {method} |")]
    return line.strip("| ").split(" | ")[2:]


def two_tasks(*more: Row) -> Table:
    rows = flat("moore", REPLAY, [60.0, 62.0]) + flat("moore", "d4rl:walker2d-random-v2", [1.0, 3.0])
    return published_table(make_study([*rows, *more]))


def test_the_shipped_numbers_add_up_to_the_printed_totals() -> None:
    sources = {one.name: one for one in load_published()}
    for name, totals, tasks in (("OPT paper", OPT_SUMS, 1), ("PARS paper", PARS_MEANS, 9)):
        one = sources[name]
        assert len(one.values) == 9
        for method, total in totals.items():
            entries = [float(row[one.methods.index(method)].split(" ")[0]) for row in one.values.values()]
            assert sum(entries) / tasks == pytest.approx(total, abs=0.11), method
    assert all(set(one.values) <= TWELVE for one in sources.values())
    assert set(sources["MOORe paper"].values) == TWELVE
    assert [one.name for one in sources.values() if one.by_eye] == ["MOORe paper", "ENOTO paper"]


def test_returns_are_converted_with_the_reference_returns_and_scores_are_printed_as_they_are() -> None:
    table = two_tasks()
    assert table.columns == (REPLAY, "d4rl:walker2d-random-v2")
    # D4RL's reference returns: random and expert
    cheetah = [100 * (x + 280.178953) / (12135 + 280.178953) for x in (6250, 11400)]
    walker = [100 * (x - 1.629008) / (4592.3 - 1.629008) for x in (100, 1000)]
    expected = [f"{low:.0f} → {high:.0f}" for low, high in (cheetah, walker)]
    assert cells(table, "MOORe paper", "MOORe") == expected
    assert cells(table, "MOORe paper", "MBPO from scratch")[1] == f"{100 * (2500 - 1.629008) / 4590.670992:.0f}"
    assert cells(table, "OPT paper", "Off2On") == ["97.7 ± 1.7", "29.4 ± 2.9"]
    assert cells(table, "OfflineRL-Kit", "MOPO") == ["72.1 ± 3.8", MISSING]
    assert "OfflineRL-Kit,MOPO,d4rl:halfcheetah-medium-replay-v2,offline,,,,,0,72.1 ± 3.8" in to_csv(table)
    assert "OPT paper,IQL,d4rl:walker2d-random-v2,online,,,,,0,6.6 ± 1.0" in to_csv(table)
    assert cells(table, "this study", "moore")[0].startswith("50.0 ± 0.0 → 61.0 ± ")
    assert "**" not in to_markdown(table)


def test_the_notes_name_source_data_budget_seeds_and_reading() -> None:
    ours, *notes = two_tasks().notes
    assert "D4RL's files, 1000 online steps" in ours
    for one, note in zip(load_published(), notes, strict=True):
        assert note.startswith(f"{one.name}: {one.source}; ")
        for fact in (one.data, one.budget, f"seeds: {one.seeds}", one.spread or ""):
            assert fact in note
        assert ("read off the figure by eye" in note) == one.by_eye


def test_only_sources_with_a_common_task_are_there() -> None:
    table = published_table(make_study(flat("moore", "d4rl:hopper-random-v2", [1.0, 2.0])))
    assert {heads[0] for heads, _ in table.rows} == {"this study", "MOORe paper", "OPT paper", "PARS paper"}
    assert not any("ENOTO" in note for note in table.notes)


def test_tasks_are_matched_by_environment_and_quality_of_every_source() -> None:
    for dataset in ("self:hopper-medium", "minari:mujoco/hopper/medium-v0", "d4rl:hopper-medium-v2"):
        table = published_table(make_study(flat("moore", dataset, [1.0, 2.0])))
        assert cells(table, "OPT paper", "IQL") == ["63.2 ± 3.5"]
    ours = published_table(make_study(flat("moore", "self:hopper-medium", [1.0, 2.0]))).notes[0]
    assert "self-made data, not D4RL's files" in ours


def test_a_study_of_other_tasks_has_no_such_table() -> None:
    for dataset in ("self:pendulum-medium", "d4rl:hopper-full-replay-v2", "local:hopper:file.hdf5"):
        study = make_study(flat("moore", dataset, [1.0, 2.0]), configs={}, offline_runs={})
        assert published_table(study).rows == ()
        assert "published" not in [table.name for table in tables(study)]
    both = make_study(flat("moore", REPLAY, [1.0, 2.0]) + flat("moore", "d4rl:hopper-expert-v2", [1.0, 2.0]))
    assert published_table(both).columns == (REPLAY,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "points"}, r"sources\[0\].unit: 'points' is not accepted"),
        ({"yunit": "score"}, r"sources\[0\].yunit: unknown key; did you mean 'unit'"),
        ({"values": {"hopper-medium": ["1.0"]}}, "Two: hopper-medium: 1 values for 2 methods"),
        ({"values": {"hopper-medium": ["1.0", "2 +- 3"]}}, "hopper-medium\\[1\\]: '2 \\+- 3' is not accepted"),
    ],
)
def test_mistakes_in_the_file_are_one_line_errors(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    known = {"name": "Two", "source": "s", "by_eye": False, "unit": "score", "data": "d", "budget": "b", "seeds": "1"}
    entry = {**known, "spread": None, "methods": ["A", "B"], "values": {"hopper-medium": ["1.0", "-2 -> 3"]}}
    file = tmp_path / "published.yaml"
    file.write_text(yaml.safe_dump({"sources": [entry]}), encoding="utf-8")
    assert len(load_published(file)) == 1
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"sources": [entry | change]}), encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_published(other)
    assert str(error.value).startswith(f"{other}: ")
    assert "\n" not in str(error.value)


def test_a_file_without_sources_is_an_error(tmp_path: Path) -> None:
    for index, text in enumerate(("", "a: [", "sources: []")):
        file = tmp_path / f"{index}.yaml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=rf"{index}.yaml: "):
            load_published(file)
    assert PUBLISHED.is_file()
