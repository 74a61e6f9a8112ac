"""`moore tune`: what is ranked first is what the rule says, written where the scale reads it, on seeds of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.stats.tuning import ranked
from moore.cli.main import main
from moore.studies.axes import merge
from moore.studies.identity import offline_run_id
from moore.studies.study import Study, load_study
from tests.support.resume_units import RUN
from tests.support.studies import LOW, MEDIUM, flat, make_study, run_rows

VARIANTS = {"base": {}, "penalty-x2": {"penalty": {"coef": "x2"}}}


def files(folder: Path, study: dict[str, Any] | None = None, **scale: Any) -> list[str]:
    """A study that tunes MOORe and a scale of one tiny task; the words that name them."""
    defaults = {key: value for key, value in RUN.items() if key not in ("env", "dataset")}
    defaults = merge(defaults, {"penalty": {"coef": 0.5}, "online": {"epochs": 1}})
    tuning = {"study": "tune-moore", "tune": "moore", "seeds": [100, 101], "variants": VARIANTS} | (study or {})
    tiny = {"scale": "tiny", "seeds": [0, 1], "defaults": defaults}
    tiny["tasks"] = [{"env": "pendulum", "dataset": "self:pendulum-medium"}]
    for name, values in (("study", tuning), ("scale", tiny | scale)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return [str(folder / "study.yaml"), "--scale", str(folder / "scale.yaml")]


def other(words: list[str], **study: Any) -> Study:
    """Another study at the scale of these words."""
    path = Path(words[0]).with_name("other.yaml")
    path.write_text(yaml.safe_dump({"study": "o"} | study))
    return load_study(path, Path(words[2]))


def test_the_best_mean_of_final_and_auc_is_first() -> None:
    """Breaks if seeds or tasks weigh otherwise, or a configuration that diverged wins."""
    rows = [
        *flat("a", LOW, (80.0, 60.0)), *flat("a", MEDIUM, (20.0, 40.0)),
        *flat("b", LOW, (60.0, 60.0)), *flat("b", MEDIUM, (50.0, 50.0)),
        *flat("c", LOW, (99.0, 99.0)), *flat("c", MEDIUM, (99.0,)),
        *run_rows("c", MEDIUM, 1, [50.0] + [99.0] * 13, diverged_at=900),
    ]  # fmt: skip
    rows += flat("d", LOW, (99.0, 99.0))  # another configuration on the other task
    table = ranked(make_study(rows))
    assert table["configuration"].tolist() == ["b", "a", "c", "d"]
    best = table.iloc[0]
    assert best["final"] == 55.0
    # J_0 is 50: the first of 1000 steps' 25 are a ramp from it
    assert best["auc"] == pytest.approx(55.0 - 0.0125 * 5.0)
    assert best["score"] == pytest.approx((best["final"] + best["auc"]) / 2)
    assert best[f"final {LOW}"] == 60.0


def test_a_tuned_method_is_what_studies_run(tmp_path: Path) -> None:
    """Breaks if the chosen settings do not reach the method and MOORe's variants, or reach the next tuning."""
    words = files(tmp_path, tuned={"moore": {"penalty": {"coef": 2.0}}, "iql": {"agent": {"tau": 0.5}}})
    assert {run.penalty.coef for run in load_study(Path(words[0]), Path(words[2])).runs} == {0.5, 1.0}
    runs = other(words, methods=["moore", "iql"], variants={"half": {"penalty": {"coef": "x0.5"}}}).runs
    assert {run.method: run.agent.tau for run in runs} == {"moore": 0.005, "iql": 0.5, "half": 0.005}
    assert {run.method: run.penalty.coef for run in runs if run.method != "iql"} == {"moore": 2.0, "half": 1.0}


def test_a_tuned_factor_gives_the_run_that_was_tuned(tmp_path: Path) -> None:
    """Breaks if a factor is of the scale's setting where it was tried on the method's."""
    changes = {"online": {"exploration_steps": "x0.5"}}
    scale = {"methods": {"sac": {"online": {"exploration_steps": 12}}}}
    words = files(tmp_path, {"tune": "sac", "variants": {"base": {}, "half": changes}}, **scale)
    tried = [run for run in load_study(Path(words[0]), Path(words[2])).runs if run.method == "half"]
    assert {run.online.exploration_steps for run in tried} == {6}
    words = files(tmp_path, **scale, tuned={"sac": changes}, seeds=[100, 101])
    found = other(words, methods=["moore", "sac"])
    assert [replace(run, method="half") for run in found.runs if run.method == "sac"] == tried
    assert found.reference == "moore"


def test_what_is_tuned_for_moore_holds_for_its_relatives(tmp_path: Path) -> None:
    """Breaks if the frozen offline policy is another than MOORe's, or MOORe is no longer the reference."""
    words = files(tmp_path, tuned={"moore": {"agent": {"tau": "x2"}}})
    found = other(words, methods=["moore", "mopo"])
    assert {run.method: run.agent.tau for run in found.runs} == {"moore": 0.01, "mopo": 0.01}
    assert len({offline_run_id(run) for run in found.runs}) == 2  # one for each seed
    assert found.reference == "moore"


def test_relatives_from_scratch_share_another_tuning(tmp_path: Path) -> None:
    """Breaks if MBPO's and RLPD's relatives stand beside them untuned, or a tuning outweighs what a variant names."""
    tau, learner = {"agent": {"tau": "x2"}}, {"algorithm": "sac", "offline": {"updates": 0}}
    words = files(tmp_path, tuned={"mbpo": tau, "rlpd": tau, "sac": {"agent": {"tau": 0.4}}})
    small = {"small": learner, "own": learner | {"agent": {"tau": 0.2}}}
    scratch = {"plain": {"algorithm": "sac", "dataset": None}, "model": {"dataset": None, "penalty": {"coef": 0.0}}}
    runs = other(words, methods=["moore"], variants=small | scratch).runs
    found = {run.method: run.agent.tau for run in runs}
    assert found == {"moore": 0.005, "small": 0.01, "own": 0.2, "plain": 0.4, "model": 0.01}


def test_from_configurations_to_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a tuning changes a file without --publish, or what it publishes is not what the scale then runs."""
    words = files(tmp_path)
    before = (tmp_path / "scale.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *words, "--workers", "1"]) == 0
    assert (tmp_path / "build/tuning/tune-moore-tiny/table.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "scale.yaml").read_text() == before
    assert main(["tune", *words, "--publish"]) == 2
    (tmp_path / "analysis/tuning").mkdir(parents=True)
    assert main(["tune", *words, "--publish"]) == 0
    kept = (tmp_path / "analysis/tuning/tune-moore-tiny/table.md").read_text().split("Kept: ")[1].split(".")[0]
    assert yaml.safe_load((tmp_path / "scale.yaml").read_text())["tuned"] == {"moore": VARIANTS[kept]}
    assert main(["tune", *words, "--publish"]) == 0  # a second time it is the same file


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"seeds": [1, 100]}, "seeds"),
        ({"seeds": []}, "seeds"),
        ({"tune": "mooore"}, "tune"),
        ({"variants": {f"v{n}": {"real_ratio": n / 20} for n in range(13)}}, "2 to 12 configurations"),
        ({"variants": {"base": {}}}, "2 to 12 configurations"),
        ({"tune": None}, "seeds"),
    ],
)
def test_unequal_effort_is_refused(
    tmp_path: Path, change: dict[str, Any], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *files(tmp_path, change), "--root", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "study.yaml" in error
    assert part in error
    assert not (tmp_path / "runs").exists()
