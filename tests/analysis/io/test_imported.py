"""Other people's curves: what is read, what is refused, and that they stay apart from ours."""

import re
from pathlib import Path
from typing import Any

import pytest

from analysis.claims.tables import verdicts_table
from analysis.io.imported import APART, import_curves, overlay
from analysis.io.rows import Results, load_study
from analysis.output.notes import notes
from analysis.output.report import main, tables
from analysis.output.tables import differences_table, main_table
from analysis.plots.curves import learning_curves
from analysis.plots.view import view
from analysis.stats.transfer import summarise
from moore.base.errors import UserError
from moore.cli.main import main as moore
from tests.support.drawn import sure
from tests.support.errors import one_line
from tests.support.studies import GRID, LOW, MEDIUM, flat, full_study, make_study, write_study

HEADER = "method,task,seed,step,score"


def lines(method: str = "awac", task: str = LOW, seeds: int = 3, level: float = 99.0) -> list[str]:
    """J_0 = 40, then the level plus the seed."""
    points = [(seed, step) for seed in range(seeds) for step in GRID]
    return [f"{method},{task},{seed},{step},{level + seed if step else 40.0}" for seed, step in points]


def write(folder: Path, *more: str, name: str = "corl.csv", header: str = HEADER) -> Path:
    file = folder / name
    file.write_text("\n".join([header, *more]) + "\n", encoding="utf-8")
    return file


def imported(folder: Path, *more: str, header: str = HEADER, **choices: Any) -> Results:
    return load_study(import_curves([write(folder, *more, header=header)], folder / "results", **choices))


def test_a_file_becomes_a_results_folder(tmp_path: Path) -> None:
    file = write(tmp_path, *lines(), *lines("iql", MEDIUM, 2))
    folder = import_curves([file], tmp_path / "results")
    assert folder == tmp_path / "results" / "corl"
    study = load_study(folder)
    assert study.imported
    assert (study.name, study.methods, study.datasets) == ("corl", ["awac", "iql"], [LOW, MEDIUM])
    assert study.online_steps == 1000
    assert study.manifest["file"] == "corl.csv"
    scores = study.select("eval/score")
    assert len(scores) == len(study.rows) == 5 * len(GRID)
    one = scores[(scores["method"] == "awac") & (scores["seed"] == 2)].sort_values("env_steps")
    assert one["env_steps"].tolist() == list(GRID)
    assert one["value"].tolist() == [40.0] + [101.0] * (len(GRID) - 1)


def test_columns_may_stand_in_any_order_and_blank_lines_anywhere(tmp_path: Path) -> None:
    shuffled = [",".join(reversed(line.split(","))) for line in lines()]
    text = "\n\n".join([",".join(reversed(HEADER.split(","))), *shuffled])
    file = tmp_path / "b.csv"
    file.write_text("\ufeff" + text, encoding="utf-8")
    plain = imported(tmp_path, *lines())
    other = load_study(import_curves([file], tmp_path / "results"))
    assert other.rows.drop(columns="study").equals(plain.rows.drop(columns="study"))


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("method,task,seed,step", f"awac,{LOW},0,0", "no score; accepted: --map FIELD=COLUMN"),
        ("task,step,score", f"{LOW},0,0", "no method; .*--method NAME"),
        (HEADER, f"awac,{LOW},0,0", "a line is shorter than the header"),
        (HEADER, f"awac,{LOW},0,0,1,2", "accepted: CSV in UTF-8"),
        (HEADER, f"awac,{LOW},0,0,nan", "row 1: score: 'nan'; accepted: a number"),
        (HEADER, f"awac,{LOW},0,0,", "row 1: score: ''; accepted: a number"),
        (HEADER, f"awac,{LOW},0,-5,1", "row 1: step: '-5'; accepted: a whole number of at least 0"),
        (HEADER, f"awac,{LOW},0,0,1\nawac,{LOW},a,0,1", "row 2: seed: 'a'; accepted: a whole number"),
        (HEADER, f",{LOW},0,0,1", "row 1: method: empty"),
        (HEADER, f"awac,{LOW},0,0,1\nawac,{LOW},0,0,2", "eval/score twice in run awac/self:pendulum-low/0 at step 0"),
        (HEADER, "", "no curves, only a header"),
        (HEADER, f'awac,{LOW},0,0,1\n"awac,{LOW},0,1,1', "accepted: CSV"),
        (HEADER, f"awac,{LOW},0,{10**20},1", "row 1: step: '1000+'; accepted"),
    ],
)
def test_bad_files_are_one_line_errors(tmp_path: Path, header: str, line: str, message: str) -> None:
    file = write(tmp_path, line, header=header)
    said = one_line(lambda: import_curves([file], tmp_path / "results"))
    assert re.match(f"{re.escape(str(file))}: .*{message}", said)
    assert not (tmp_path / "results").exists()


def test_results_are_never_written_over(tmp_path: Path) -> None:
    results = tmp_path / "results"
    ours = write_study(results / "corl", full_study(1))
    before = (ours / "rows.parquet").read_bytes()
    with pytest.raises(UserError, match="exists and is no import of this file; choose another --name"):
        import_curves([write(tmp_path, *lines())], results)
    assert (ours / "rows.parquet").read_bytes() == before
    first = import_curves([write(tmp_path, *lines())], results, "theirs")
    assert import_curves([write(tmp_path, *lines())], results, "theirs") == first
    with pytest.raises(UserError, match="no import of this file"):
        import_curves([write(tmp_path, *lines(level=1.0))], results, "theirs")
    with pytest.raises(UserError, match="--name: 'Mine!' is not accepted"):
        import_curves([write(tmp_path, *lines())], results, "Mine!")


def test_an_overlay_is_labelled_and_cut_at_our_budget(tmp_path: Path) -> None:
    later = [f"awac,{LOW},{seed},2000,0" for seed in range(3)]
    theirs = imported(tmp_path, *lines(), *later, *lines("iql", "self:hopper-medium"))
    joined = sure(overlay(make_study(full_study(5)), theirs))
    assert joined.name == "toy+corl"
    assert set(joined.methods) - set(make_study(full_study(5)).methods) == {"corl:awac (imported)"}
    assert "self:hopper-medium" not in joined.datasets
    runs = summarise(joined)
    mine = runs[runs["method"] == "corl:awac (imported)"]
    assert mine["final"].tolist() == [99.0, 100.0, 101.0]
    assert mine["finished"].all()
    caption = " ".join(notes(joined))
    assert f"from corl.csv (sha256 {theirs.manifest['sha256'][:12]}), not run here" in caption
    assert "steps after 1000 are left out" in caption
    assert overlay(make_study(flat("uniform", "self:hopper-low", [1.0, 2.0])), theirs) is None


def test_imported_curves_are_not_compared_with_ours(tmp_path: Path) -> None:
    """The best curve by far takes no bold from ours, and counts neither as a seed nor in a claim or difference."""
    ours = make_study([row for row in full_study(5) if row["method"] not in ("sac", "mbpo")])
    joined = sure(overlay(ours, imported(tmp_path, *lines(seeds=7, level=150.0))))
    before, after = main_table(ours), main_table(joined)
    name = "corl:awac (imported)"
    place = after.columns.index(name)
    bold = {heads: [cell.bold for cell in cells] for heads, cells in before.rows}
    for heads, cells in after.rows:
        assert not cells[place].bold
        assert [cell.bold for index, cell in enumerate(cells) if index != place] == bold[heads]
    assert after.seeds == before.seeds == 5
    assert after.rows[0][1][place].seeds == 7
    assert [table.name for table in tables(joined)] == ["main", "transfer"]
    assert len(tables(ours)) > 2
    (tmp_path / "b").mkdir()
    theirs = imported(tmp_path / "b", *lines("moore"), *lines("awac", level=10.0))
    claims = [verdicts_table([study]).rows for study in (ours, theirs)]
    assert all(not cells[1].parts for _, cells in claims[1])
    assert any(cells[1].parts for _, cells in claims[0])
    assert name not in str(differences_table(ours).rows)


def test_the_report_lays_them_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    write_study(results / "toy", full_study(2))
    write_study(results / "elsewhere", flat("uniform", "self:hopper-low", [1.0, 2.0]))
    assert moore(["import", str(write(tmp_path, *lines())), "--name", "corl", "--out", str(results)]) == 0
    assert f"--overlay {results / 'corl'}" in capsys.readouterr().out
    assert moore(["import", str(tmp_path / "absent.csv"), "--out", str(results)]) == 2
    assert capsys.readouterr().err.startswith(f"moore: {tmp_path / 'absent.csv'}: cannot be read")
    common = ["--results", str(results), "--out", str(out)]
    assert main(["--overlay", str(results / "corl"), *common]) == 0
    assert [path.name for path in out.iterdir()] == ["toy+corl"]
    assert [path.name for path in (out / "toy+corl").glob("*.pdf")] == ["curves.pdf"]
    assert "corl:awac" in (out / "toy+corl" / "main.csv").read_text(encoding="utf-8")
    assert main(["--overlay", str(results / "toy"), *common]) == 2
    assert "--overlay takes a folder that `moore import` made" in capsys.readouterr().err
    assert main(["--overlay", str(results / "corl"), "elsewhere", *common]) == 0  # drawn alone
    assert "corl:awac (imported)" in (out / "corl" / "main.csv").read_text(encoding="utf-8")
    assert (out / "corl" / "curves.pdf").exists()


def test_other_names_no_seeds_and_further_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = [f"x,{step},{3000 + step}" for step in GRID]
    study = imported(tmp_path, *text, header="lr,global_step,ret", columns={"step": "global_step", "score": "ret"},
                     given={"method": "awac", "task": "antmaze-umaze-v2"})  # fmt: skip
    assert (study.methods, study.datasets) == (["awac"], ["other:antmaze-umaze-v2"])
    assert study.rows["value"].tolist() == [3000.0 + step for step in GRID]
    said = capsys.readouterr().err
    assert "no dataset id, kept as other:antmaze-umaze-v2" in said
    assert "raw returns? 0-100 is meant" in said
    with pytest.raises(UserError, match="--map: 'lr' is no field; accepted: method, task"):
        imported(tmp_path, *lines(), columns={"lr": "lr"})
    with pytest.raises(UserError, match="--task-alias: 'x' is not in the files; accepted: self:pendulum-low"):
        imported(tmp_path, *lines(), aliases={"x": LOW})


def test_another_grid_is_interpolated_at_ours_and_said(tmp_path: Path) -> None:
    """A line stays a line; a task of theirs stands for one of ours only where that is asked for."""
    dense = [
        f"awac,hopper-medium-v2,{seed},{step},{step / 10 + seed}" for seed in range(2) for step in range(0, 1060, 53)
    ]
    theirs = imported(tmp_path, *dense, aliases={"hopper-medium-v2": LOW})
    joined = sure(overlay(make_study(flat("uniform", LOW, [1.0, 2.0])), theirs))
    curve = joined.rows[joined.rows["run"] == f"corl:awac/{LOW}/1"].sort_values("env_steps")
    assert tuple(curve["env_steps"]) == GRID
    assert curve["value"].to_numpy() == pytest.approx([min(step, 1007) / 10 + 1 for step in GRID])
    said = " ".join(notes(joined))
    assert f"{LOW} is hopper-medium-v2 there: other data" in said
    assert "interpolated at our steps" in said


def test_what_cannot_be_laid_over_is_drawn_at_its_own_steps(tmp_path: Path) -> None:
    """Evaluations that are too rare, and a summary of runs, which has a mean, ± and n only."""
    rare = [f"iql,{LOW},0,{step},{step / 20},," for step in (0, 500, 1000)]
    theirs = imported(tmp_path, *rare, f"rlpd,{LOW},0,1000,70,5,10", header=f"{HEADER},spread,n")
    joined = sure(overlay(make_study(flat("uniform", LOW, [1.0, 2.0])), theirs))
    assert joined.rows.loc[joined.rows["metric"] == APART, "value"].tolist() == [0.0, 25.0, 50.0, 70.0]
    drawn = sure(learning_curves(view(joined)))
    (axis,) = drawn[0].axes
    (line,) = [line for line in axis.get_lines() if line.get_label() == "IQL (imported, corl)"]
    assert line.get_ydata() == pytest.approx([0, 25, 50])
    (bars,) = axis.containers
    assert bars.get_label() == "RLPD (imported, corl)"
    low, high = bars[2][0].get_segments()[0][:, 1]
    assert (low, high) == (65, 75)
    cells = dict(zip(main_table(joined).columns, main_table(joined).rows[0][1], strict=True))
    assert [cells[f"corl:{name} (imported)"].parts[-1][1] for name in ("iql", "rlpd")] == ["only drawn"] * 2
    assert f"iql on {LOW}: evaluated too far apart" in " ".join(notes(joined))


def test_an_import_stops_no_report_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    write_study(results / "toy", flat("uniform", LOW, [1.0, 2.0]))
    odd = [f"awac,{LOW},{seed},{step},5" for seed in range(2) for step in (0, 500 + seed, 1000)]
    import_curves([write(tmp_path, *odd)], results)
    assert main(["--results", str(results), "--out", str(out)]) == 0
    assert main(["--results", str(results), "--page", str(out / "report.html")]) == 0
    assert (
        capsys.readouterr().err.count("corl: column env_steps: runs of awac on self:pendulum-low were evaluated") == 2
    )
    assert (out / "toy" / "curves.pdf").exists()
    assert 'id="toy"' in (out / "report.html").read_text(encoding="utf-8")
