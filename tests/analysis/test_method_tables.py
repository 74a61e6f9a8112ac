"""Tables and generated blocks of a study of methods: wide tables turned round, frozen and untrained methods."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from analysis.io.rows import Results, load_study
from analysis.output import tables
from analysis.output.facts import methods_table
from analysis.output.render import MISSING, to_csv, to_latex, to_markdown
from analysis.output.report import report
from analysis.output.tables import main_table, transfer_table
from moore.algorithm.config import RunConfig
from moore.base.manifest import pack
from tests.analysis.test_methods import ALL
from tests.support.method_studies import LOW, MEDIUM, flat_scores, method_manifest, method_rows, method_study, runs_of
from tests.support.studies import GRID, flat, make_study


def rising(run: RunConfig) -> list[float]:
    """A level of its own for every method and task, apart by a few points and noisy in the seed."""
    level = 20.0 + 4 * ALL.index(run.method) + 3 * (run.dataset == LOW) + 2 * ((run.seed * 7) % 3)
    return [10.0, *[level] * (len(GRID) - 1)]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return method_study(tmp_path_factory.mktemp("all"), ALL, 3, rising)


def test_a_wide_table_is_the_same_table_turned_round(everything: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = main_table(everything)
    monkeypatch.setattr(tables, "WIDE", len(ALL))
    narrow = main_table(everything)
    assert wide.heads == ("method",)
    assert tuple(heads for heads, _ in wide.rows) == tuple((name,) for name in narrow.columns)
    assert wide.columns == (LOW, MEDIUM, "mean over 2 tasks", "IQM over 2 tasks")
    for row, (_, cells) in enumerate(wide.rows):
        for column, cell in enumerate(cells):
            assert cell == narrow.rows[column][1][row]
    bold = [[cell.bold for cell in column] for column in zip(*(cells for _, cells in wide.rows), strict=True)]
    assert [any(column) for column in bold] == [True, True, False, False]
    assert not any(all(column) for column in bold)


@pytest.mark.parametrize(("methods", "head"), [(6, "dataset"), (7, "method")])
def test_more_than_six_methods_are_rows(methods: int, head: str) -> None:
    rows = [r for index in range(methods) for r in flat(f"decay {index}", LOW, [50.0, 51.0])]
    table = main_table(make_study(rows))
    assert table.heads == (head,)
    assert len(table.rows) == (1 if head == "dataset" else methods)


def test_a_wide_table_has_the_same_numbers_in_every_output(everything: Results) -> None:
    table = main_table(everything)
    number = r"-?\d+\.\d"
    latex, markdown = to_latex(table), to_markdown(table).split("\n\n")[0]
    assert re.findall(number, latex[latex.index("toprule") :]) == re.findall(number, markdown)
    assert latex.count(r"\midrule") == 1  # the aggregates are columns
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert {line["column"] for line in lines} == set(table.columns)
    assert [line["method"] for line in lines if line["column"] == "IQM over 2 tasks"] == [h[0] for h, _ in table.rows]


def shown(study: Results, method: str) -> list[str]:
    """The Markdown cells of a method's row in a wide table, without bold."""
    (line,) = [line for line in to_markdown(main_table(study)).splitlines() if line.startswith(f"| {method} |")]
    return line.replace("**", "").strip("| ").split(" | ")[1:]


def test_frozen_untrained_and_scratch_methods_have_the_parts_that_mean_something(tmp_path: Path) -> None:
    names = ["moore", "awac", "iql", "td3_bc", "rlpd", "mopo", "sac"]
    levels = {name: [60.0, 60.0] for name in names} | {"mopo": [50.0, 50.0]}
    study = method_study(tmp_path, names, 2, flat_scores(levels), [LOW])
    assert shown(study, "mopo") == ["50.0 ± 0.0 → 50.0 ± 0.0"]
    assert shown(study, "rlpd") == ["50.0 ± 0.0 → 60.0 ± 0.0"]
    assert shown(study, "sac") == ["60.0 ± 0.0"]
    parts = {heads: [bool(cell.parts) for cell in cells] for heads, cells in transfer_table(study).rows}
    assert parts[LOW, "awac"] == [True, True, True, True]
    assert parts[LOW, "rlpd"] == parts[LOW, "sac"] == [False, False, True, False]  # AUC only: there is no switch


def test_a_diverged_baseline_is_shown_in_a_wide_table(tmp_path: Path) -> None:
    names = ["moore", "awac", "iql", "td3_bc", "cal_ql", "cql_sac", "wsrl"]
    runs = runs_of(tmp_path, names, 2)
    rows = method_rows(runs, flat_scores({name: [60.0, 61.0] for name in names}))
    rows += [
        {**r, "metric": "diverged", "value": 1.0}
        for r in rows
        if (r["method"], r["dataset"], r["seed"], r["env_steps"]) == ("awac", LOW, 1, 500)
    ]
    study = Results("toy", pd.DataFrame(rows), method_manifest(runs))
    cells = shown(study, "awac")
    assert cells[0] == "50.0 ± 0.0 → diverged (1/2)"
    assert cells[1] == "50.0 ± 0.0 → 60.5 ± 6.4"
    assert cells[2:] == [MISSING, MISSING]


def test_a_changed_config_changes_the_table_of_methods_and_nothing_else(tmp_path: Path) -> None:
    """Through files, as a study leaves them."""
    names = ["moore", "awac", "cql_sac", "cal_ql", "rlpd", "mopo", "mbpo"]
    runs = runs_of(tmp_path, names, 2, [LOW])
    folder = tmp_path / "results" / "toy"
    folder.mkdir(parents=True)
    manifest = method_manifest(runs)
    pd.DataFrame(method_rows(runs, rising)).to_parquet(folder / "rows.parquet")
    (folder / "manifest.json").write_text(json.dumps(pack(manifest)), encoding="utf-8")
    before = {file.name: file.read_text() for file in report([folder], tmp_path / "out", figures=False)}
    assert "| cal_ql | cql | 3000 | 1 | half_half |" in to_markdown(methods_table(load_study(folder)))
    assert {f"{name}.tex" for name in ("main", "transfer", "differences", "claims", "methods")} <= set(before)
    for config in manifest["configs"].values():
        if config["method"] == "cal_ql":
            config["agent"]["online_cql_coef"] = 7.5
    (folder / "manifest.json").write_text(json.dumps(pack(manifest)), encoding="utf-8")
    after = {file.name: file.read_text() for file in report([folder], tmp_path / "out", figures=False)}
    assert {name for name in after if after[name] != before[name]} == {"methods.csv", "methods.tex", "tables.md"}
    assert "agent.online_cql_coef 7.5" in after["methods.csv"]
