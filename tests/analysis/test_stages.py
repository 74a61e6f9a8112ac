"""Which offline stage a method starts from, and how the stages are drawn: one in grey, or each method's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from analysis.io.rows import Results
from analysis.io.stages import offline_problems, one_stage, stages, started_by
from analysis.output.notes import notes
from analysis.output.tables import main_table
from analysis.plots.curves import learning_curves
from analysis.plots.diagnostics import online_share, penalty
from analysis.plots.looks import looks
from analysis.plots.style import OFFLINE_COLOUR, OFFLINE_WIDTH
from analysis.stats.diagnostics import PENALTY, Schedule, schedule
from moore.algorithm.config import RunConfig
from moore.base.errors import UserError
from moore.studies.identity import run_id
from tests.support.method_studies import LOW, MEDIUM, as_study, method_manifest, method_rows, method_study, runs_of
from tests.support.studies import GRID, Row, flat, full_study, make_study, row

SHARED = ["moore", "mbpo_warm", "mopo_naive", "mopo"]  # MOPO's stage
ENDS = {"awac": 40.0, "cql_sac": 45.0, "cal_ql": 50.0, "wsrl": 55.0, "rlpd": 1.0, "mbpo": 0.0}


def from_ends(run: RunConfig) -> list[float]:
    """J_0 is where the method's offline stage ends: 70 for MOPO's; then the method stays 5 points above it."""
    j0 = ENDS.get(run.method, 70.0) + run.seed
    return [j0, *[j0 + 5] * (len(GRID) - 1)]


def left_of_the_switch(axis: Axes) -> list[Line2D]:
    """The offline lines of a panel; the rule of the switch itself has x = 0 only."""
    return [line for line in axis.get_lines() if np.min(np.asarray(line.get_xdata(), dtype=float)) < 0]


def last_y(line: Line2D) -> float:
    return float(np.asarray(line.get_ydata(), dtype=float)[-1])


def labels(study: Results) -> list[str]:
    return [entry.get_text() for entry in learning_curves(study)[0].legends[0].get_texts()]


def test_stages_follow_the_manifest_not_the_method_column(tmp_path: Path) -> None:
    """Three methods have stages called `cql`; four share one called `mopo`; an untrained one is none."""
    names = [*SHARED, *ENDS]
    study = method_study(tmp_path, names, 2, from_ends)
    assert set(study.offline["method"]) == {"mopo", "awac", "cql", "sac"}
    for dataset in (LOW, MEDIUM):
        found = stages(study, dataset, "eval/score")
        assert [stage.methods for stage in found] == [
            ("moore", "mbpo_warm", "mopo_naive", "mopo"), ("awac",), ("cal_ql",), ("cql_sac",), ("wsrl",),
        ]  # fmt: skip
        assert [stage.updates for stage in found] == [3000] * 5
        ends = [stage.rows.query("updates == 3000")["value"].tolist() for stage in found]
        assert ends == [[70, 71], [40, 41], [50, 51], [45, 46], [55, 56]]
        assert all(set(stage.rows["dataset"]) == {dataset} for stage in found)
    assert not one_stage(study, "eval/score")


def test_model_based_methods_share_one_stage(tmp_path: Path) -> None:
    study = method_study(tmp_path, [*SHARED, "mbpo", "rlpd"], 2, from_ends)
    assert one_stage(study, "eval/score")
    figure, _ = learning_curves(study)
    (line,) = left_of_the_switch(figure.axes[0])
    assert (line.get_label(), line.get_color()) == ("offline stage", OFFLINE_COLOUR)
    assert labels(study)[0] == "offline stage"
    assert "offline run" not in " ".join(notes(study))


def test_each_own_stage_is_a_thin_line_like_its_method_up_to_the_switch(tmp_path: Path) -> None:
    study = method_study(tmp_path, ["moore", "mopo", "awac", "cal_ql", "rlpd", "mbpo"], 2, from_ends)
    figure, _ = learning_curves(study)
    drawn_as = looks(study.methods)
    for axis in figure.axes:
        lines = left_of_the_switch(axis)
        assert [to_rgb(line.get_color()) for line in lines] == [
            to_rgb(drawn_as[name].colour) for name in ("moore", "awac", "cal_ql")
        ]
        assert [line.get_linestyle() for line in lines] == [drawn_as[name].line for name in ("moore", "awac", "cal_ql")]
        online = {line.get_label(): line for line in axis.get_lines()}
        for name, line in zip(("moore", "awac", "cal_ql"), lines, strict=True):
            x = np.asarray(line.get_xdata(), dtype=float)
            assert (x[0], x[-1]) == (-OFFLINE_WIDTH * 1000, 0)
            start = float(np.asarray(online[name].get_ydata(), dtype=float)[0])
            assert last_y(line) == start == ENDS.get(name, 70.0) + 0.5  # no jump in these rows
            assert line.get_linewidth() < online[name].get_linewidth()
    assert labels(study) == ["moore", "awac", "cal_ql", "rlpd", "mopo", "mbpo"]
    assert "moore and mopo share one offline run, drawn as moore." in " ".join(notes(study))


def test_a_shorter_stage_ends_at_the_switch_too(tmp_path: Path) -> None:
    runs = [
        replace(run, offline=replace(run.offline, updates=1500)) if run.method == "awac" else run
        for run in runs_of(tmp_path, ["moore", "awac"], 2)
    ]
    study = as_study(method_rows(runs, from_ends), method_manifest(runs))
    moore, awac = left_of_the_switch(learning_curves(study)[0].axes[0])
    assert np.asarray(moore.get_xdata(), dtype=float)[0] == -OFFLINE_WIDTH * 1000
    np.testing.assert_allclose(np.asarray(awac.get_xdata(), dtype=float)[[0, -1]], [-OFFLINE_WIDTH * 500, 0])


def test_a_stage_that_diverged_is_named_with_its_methods_and_ends_where_it_did(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["moore", "mopo", "awac"], 2, [LOW])
    rows = method_rows(runs, from_ends)
    rows = [r for r in rows if r["method"] != "awac" or r["phase"] == "online" or r["updates"] <= 1000]
    lost = next(r for r in rows if (r["method"], r["phase"], r["seed"]) == ("awac", "offline", 1))
    study = as_study([*rows, {**lost, "updates": 1500, "metric": "diverged", "value": 1.0}], method_manifest(runs))
    assert offline_problems(study) == [f"{LOW} seed 1 (awac)"]
    assert f"Offline stage diverged: {LOW} seed 1 (awac)." in notes(study)
    _, awac = left_of_the_switch(learning_curves(study)[0].axes[0])
    assert np.asarray(awac.get_xdata(), dtype=float)[-1] == pytest.approx(-OFFLINE_WIDTH * 1000 * 2 / 3)


def test_a_method_that_lacks_a_seed_keeps_its_stage(tmp_path: Path) -> None:
    """MOORe lost seed 0 on one dataset: the frozen policy's run still makes both seeds one stage."""
    runs = runs_of(tmp_path, ["moore", "mopo", "awac"], 2)
    lost = {run_id(run) for run in runs if (run.method, run.seed, run.dataset) == ("moore", 0, LOW)}
    study = as_study(method_rows([run for run in runs if run_id(run) not in lost], from_ends), method_manifest(runs))
    assert [stage.methods for stage in stages(study, LOW, "eval/score")] == [("moore", "mopo"), ("awac",)]
    assert stages(study, LOW, "eval/score")[0].rows["seed"].nunique() == 2


def test_an_older_manifest_has_one_stage_for_all_variants() -> None:
    study = make_study(full_study(2))
    (stage,) = stages(study, LOW, "eval/score")
    assert stage.methods == ("prioritized", "uniform", "half_half", "pure_online")
    assert (stage.updates, stage.rows["run"].nunique()) == (3000, 2)
    assert set(started_by(study)) == set(study.offline["run"])
    frozen = [{**r, "run": f"frozen/{r['run']}"} for r in flat("mopo", LOW, [60.0, 61.0])]
    other = row("awac", LOW, 0, "offline", 100, "eval/score", 5.0)
    mixed = make_study([*full_study(2), *frozen, other])  # neither an online `mopo` nor another method's stage counts
    assert [s.rows["run"].tolist() for s in stages(mixed, LOW, "eval/score")] == [stage.rows["run"].tolist()]


def test_several_stages_that_nothing_tells_apart_are_an_error() -> None:
    rows = [row("mopo", LOW, 0, "offline", 100, "eval/score", 5.0), *flat("uniform", LOW, [60.0])]
    assert one_stage(make_study(rows), "eval/score")
    study = make_study([*rows, {**rows[0], "run": "mopo with another penalty"}])
    with pytest.raises(UserError, match=f"study toy: {LOW} seed 0 has several offline stages; expected offline_runs"):
        learning_curves(study)


def diagnostics_rows(runs: list[RunConfig]) -> list[Row]:
    """Penalties of both stages of the model-based methods, and their shares; naive MOPO never trains its model."""
    rows = method_rows(runs, from_ends)
    extra: list[Row] = []
    for scored in rows:
        step = scored["env_steps"] if scored["phase"] == "online" else scored["updates"]
        if not step or scored["method"] not in SHARED or (scored["phase"], scored["method"]) == ("online", "mopo"):
            continue
        extra.append({**scored, "metric": PENALTY, "value": 1.0})
        if scored["phase"] == "online":
            consumers = ["start_states"] if scored["method"] == "mopo_naive" else ["model_batches", "start_states"]
            extra += [{**scored, "metric": f"sampling/{c}_online_share", "value": 0.5} for c in consumers]
    return rows + extra


def test_diagnostics_show_the_model_based_methods_beside_their_one_stage(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["moore", "mbpo_warm", "mopo_naive", "mopo", "awac", "mbpo"], 2)
    study = as_study(diagnostics_rows(runs), method_manifest(runs))
    drawn = penalty(study)
    assert drawn is not None
    entries = [entry.get_text() for entry in drawn[0].legends[0].get_texts()]
    assert entries == ["offline stage", "moore", "mbpo_warm", "mopo_naive"]
    assert "in `moore`" in drawn[1]
    assert "drawn like" not in drawn[1]
    shares = online_share(study)
    assert shares is not None
    names = [entry.get_text() for entry in shares[0].legends[0].get_texts()]
    assert names == ["moore", "mbpo_warm", "mopo_naive", "closed form"]
    closed = [line for line in shares[0].axes[0].get_lines() if line.get_label() == "closed form"]
    assert len(closed) == 1  # of moore alone: the others draw uniformly


def test_the_schedule_is_moores_whichever_run_comes_first(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["awac", "moore"], 1)
    runs = [replace(r, sampling=replace(r.sampling, decay_rate=0.5)) if r.method == "moore" else r for r in runs]
    study = as_study(method_rows(runs, from_ends), method_manifest(runs))
    assert study.setting("decay_rate") == 1.0  # of the first run
    assert schedule(study, "moore", LOW) == Schedule(0.5, 1.0, 100, 50, 4000)


def test_a_dataset_on_which_every_moore_run_diverged_is_still_drawn(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["moore", "mbpo_warm"], 2)
    rows = diagnostics_rows(runs)
    rows += [
        {**r, "metric": "diverged", "value": 1.0}
        for r in rows
        if (r["method"], r["dataset"], r["env_steps"], r["metric"]) == ("moore", LOW, 500, "eval/score")
    ]
    study = as_study(rows, method_manifest(runs))
    for drawn in (penalty(study), online_share(study)):
        assert drawn is not None
        shown = [{line.get_label() for line in axis.get_lines()} & {"moore", "mbpo_warm"} for axis in drawn[0].axes]
        assert shown == [{"mbpo_warm"}, {"moore", "mbpo_warm"}]
    assert "diverged (2/2)" in str(main_table(study).rows[0])
