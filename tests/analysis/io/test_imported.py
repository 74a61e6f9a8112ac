"""Other people's curves: what is read, what is refused, and that they stay apart from ours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from analysis.claims.tables import verdicts_table
from analysis.io.imported import import_curves, overlay
from analysis.io.rows import Results, load_study, select
from analysis.output.notes import notes
from analysis.output.report import main, tables
from analysis.output.tables import differences_table, main_table
from analysis.stats.transfer import summarise
from moore.base.errors import UserError
from moore.cli.main import main as moore
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


def imported(folder: Path, *more: str) -> Results:
    return load_study(import_curves(write(folder, *more), folder / "results"))


def test_a_file_becomes_a_results_folder(tmp_path: Path) -> None:
    file = write(tmp_path, *lines(), *lines("iql", MEDIUM, 2))
    folder = import_curves(file, tmp_path / "results")
    assert folder == tmp_path / "results" / "corl"
    study = load_study(folder)
    assert study.imported
    assert (study.name, study.methods, study.datasets) == ("corl", ["awac", "iql"], [LOW, MEDIUM])
    assert study.online_steps == 1000
    assert study.manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert study.manifest["file"] == "corl.csv"
    scores = select(study.rows, "eval/score", "online")
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
    other = load_study(import_curves(file, tmp_path / "results"))
    assert other.rows.drop(columns="study").equals(plain.rows.drop(columns="study"))


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("method,task,seed,step", f"awac,{LOW},0,0", "columns method, task, seed, step; expected exactly method"),
        (HEADER + ",lr,note", f"awac,{LOW},0,0,1,2,3", "lr, note; expected exactly"),
        (HEADER + ",score", f"awac,{LOW},0,0,1,2", "score, score; expected exactly"),
        (HEADER, f"awac,{LOW},0,0", "line 2: 4 values, expected 5; is the file complete"),
        (HEADER, f"awac,{LOW},0,0,nan", "line 2: score: 'nan' is not accepted"),
        (HEADER, f"awac,{LOW},0,0,", "line 2: score: '' is not accepted"),
        (HEADER, f"awac,{LOW},0,-5,1", "line 2: step: '-5' is not accepted; .*greater than or equal to 0"),
        (HEADER, f"awac,{LOW},a,0,1", "line 2: seed: 'a' is not accepted"),
        (HEADER, f",{LOW},0,0,1", "line 2: method: '' is not accepted"),
        (HEADER, "awac,hopper-medium,0,0,1", "line 2: task: unknown dataset id 'hopper-medium'; .*accepted: self:ENV"),
        (HEADER, f"awac,{LOW},0,0,1\nawac,{LOW},0,0,2", "eval/score twice in run awac/self:pendulum-low/0 at step 0"),
        (HEADER, "", "no curves, only a header"),
        (HEADER, f'awac,{LOW},0,0,1\n"awac,{LOW},0,1,1', "line 3: unexpected end of data; accepted: CSV"),
        (HEADER, f"awac,{LOW},{10**20},0,1", "line 2: seed: '1000+' is not accepted"),
        (HEADER, f"awac,{LOW},0,{10**20},1", "line 2: step: '1000+' is not accepted"),
        (HEADER, f"awac,{LOW},0,0,1\nawac,{LOW},1,0,1\nawac,{LOW},1,9,1", "awac on .*: step 9 is not in all seeds"),
    ],
)
def test_bad_files_are_one_line_errors(tmp_path: Path, header: str, line: str, message: str) -> None:
    file = write(tmp_path, line, header=header)
    with pytest.raises(UserError, match=message) as error:
        import_curves(file, tmp_path / "results")
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "results").exists()


def test_results_are_never_written_over(tmp_path: Path) -> None:
    results = tmp_path / "results"
    ours = write_study(results / "corl", full_study(1))
    before = (ours / "rows.parquet").read_bytes()
    with pytest.raises(UserError, match="exists and is no import of this file; choose another --name"):
        import_curves(write(tmp_path, *lines()), results)
    assert (ours / "rows.parquet").read_bytes() == before
    first = import_curves(write(tmp_path, *lines()), results, "theirs")
    assert import_curves(write(tmp_path, *lines()), results, "theirs") == first
    with pytest.raises(UserError, match="no import of this file"):
        import_curves(write(tmp_path, *lines(level=1.0)), results, "theirs")
    with pytest.raises(UserError, match="--name: 'Mine!' is not accepted"):
        import_curves(write(tmp_path, *lines()), results, "Mine!")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    assert moore(["import", str(write(tmp_path, *lines())), "--name", "theirs", "--out", str(results)]) == 0
    assert f"--overlay {results / 'theirs'}" in capsys.readouterr().out
    assert json.loads((results / "theirs" / "manifest.json").read_text(encoding="utf-8"))["imported"] is True
    assert moore(["import", str(tmp_path / "absent.csv"), "--out", str(results)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"moore: {tmp_path / 'absent.csv'}: cannot be read")
    assert err.count("\n") == 1


def test_an_overlay_is_labelled_and_cut_at_our_budget(tmp_path: Path) -> None:
    later = [f"awac,{LOW},{seed},2000,0" for seed in range(3)]
    theirs = imported(tmp_path, *lines(), *later, *lines("iql", "self:hopper-medium"))
    joined = overlay(make_study(full_study(5)), theirs)
    assert joined is not None
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
    joined = overlay(ours, imported(tmp_path, *lines(seeds=7, level=150.0)))
    assert joined is not None
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
    import_curves(write(tmp_path, *lines()), results)
    common = ["--results", str(results), "--out", str(out)]
    assert main(["--overlay", str(results / "corl"), *common]) == 0
    assert [path.name for path in out.iterdir()] == ["toy+corl"]
    assert [path.name for path in (out / "toy+corl").glob("*.pdf")] == ["curves.pdf"]
    assert "corl:awac" in (out / "toy+corl" / "main.csv").read_text(encoding="utf-8")
    assert main(["--overlay", str(results / "toy"), *common]) == 2
    assert "--overlay takes a folder that `moore import` made" in capsys.readouterr().err
    assert main(["--overlay", str(results / "corl"), "elsewhere", *common]) == 2
    assert "no study has its tasks (self:pendulum-low); ours are self:hopper-low" in capsys.readouterr().err
