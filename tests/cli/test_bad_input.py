"""What users have typed: each is done, or is one line with exit code 2 before anything is trained."""

import io
import re
import sys
from pathlib import Path

import pytest

from moore.algorithm.config import RunConfig
from moore.base.errors import UserError
from moore.cli.main import main
from moore.run.local import check_datasets
from moore.studies import estimate
from moore.studies.estimate import Line
from moore.studies.identity import run_id
from moore.studies.study import load_study

SCALE = """
scale: tiny
seeds: [0, 1]
defaults: {dataset_transitions: 600, online: {epochs: 2, epoch_steps: 20, retrain_interval: 10}}
tasks:
  - {env: pendulum, dataset: "self:pendulum-medium"}
methods: {sac: {online: {exploration_steps: 10}}}
"""
STUDY = "study: s\nmethods: [moore, sac]\n"


def files(folder: Path, study: str = STUDY, scale: str = SCALE) -> list[str]:
    """The words that name a study and a scale of this content."""
    for name, text in (("study", study), ("scale", scale)):
        (folder / f"{name}.yaml").write_text(text)
    return [str(folder / "study.yaml"), "--scale", str(folder / "scale.yaml")]


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command says of bad input."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_names_of_axes_tell_values_apart(tmp_path: Path) -> None:
    """Breaks if 1.0e+6 makes a name that is refused, or two values that differ in the tenth digit one name."""
    words = files(tmp_path, "study: s\naxes: {penalty.coef: [1.0, 1.0e+6], agent.gamma: [0.99, 0.9900000001]}\n")
    methods = {run.method for run in load_study(Path(words[0]), Path(words[2])).runs}
    assert methods == {f"coef-{coef}-gamma-{gamma}" for coef in ("1", "1e06") for gamma in ("0.99", "0.9900000001")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "make", "self:pendulum-medium", "--transitions", "1e3"], "Error parsing --transitions"),
        (["reproduce", "a", "b"], "Unrecognized options: b"),
        (["reproduce", "--scale", "mni"], "did you mean 'mini'"),
        (["reproduce", "--study", "samplng"], "did you mean 'sampling'"),
        (["reproduce", "--scale", "{folder}/no.yaml"], "{folder}/no.yaml: no such file"),
        (["reproduce", "--workers", "-1"], "--workers: -1"),
        (["reproduce", "--device", "abacus"], "--device: 'abacus' is not available here"),
        (["reproduce", "--study", "{folder}/study.yaml"], "{folder}/study.yaml: study: missing"),
        (["reproduce", "{study}", "--scale", "{scale}", "--root", "{study}"], "--root: cannot write in {study}"),
        (["reproduced"], "reproduced: not a command of `moore`; accepted: reproduce, tune"),
        (["study", "sho"], "sho: not a command of `moore study`; accepted: show, submit"),
        (["study", "show"], "Missing from moore study show"),
        (["tune", "sca"], "did you mean 'sac'"),
        (["plot", "sampling-mini", "--figure", "curve"], "Expected one of ('curves', 'iqm', 'profiles',"),
        (["study", "show", "nowhere"], "nowhere: no such file; did you mean 'where'? accepted: all-methods"),
        (["study", "show", "sampling", "--scale", "huge"], "huge: no such file; accepted: laptop"),
        (["study", "show", "sampling", "--device", "abacus"], "--device: 'abacus' is not available here"),
        (["plot", "absent"], "no study absent; found all-methods-mini"),
        (["plot", "sampling-laptop-reduced", "--labels", "uniform"], "--labels: 'uniform' is not accepted; expected N"),
    ],
)
def test_slips_of_the_pen(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if one is answered with a box or a traceback, or does not say what there is (root may write anywhere)."""
    study, _, scale = files(tmp_path, "methods: [sac]" if said.endswith("missing") else STUDY)
    filled = [one.format(folder=tmp_path, study=study, scale=scale) for one in (*words, said)]
    assert filled[-1] in refusal(filled[:-1], capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"study.yaml", "scale.yaml"}


def test_two_ids_of_one_file_are_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a dataset is trained on twice under two names."""
    monkeypatch.chdir(tmp_path)
    Path("own.hdf5").write_bytes(b"")
    task = '- {env: pendulum, dataset: "self:pendulum-medium"}'
    twice = '- {env: pendulum, dataset: "local:own.hdf5"}\n  - {env: pendulum, dataset: "local:pendulum:own.hdf5"}'
    words = files(tmp_path, scale=SCALE.replace(task, twice))
    with pytest.raises(UserError, match=r"local:pendulum:own\.hdf5: is local:own\.hdf5 again"):
        check_datasets(load_study(Path(words[0]), Path(words[2])))


@pytest.mark.parametrize("place", [["{study}"], ["--study", "{study}"], ["--study={study}"]])
@pytest.mark.parametrize("command", [["reproduce", "--dry-run"], ["study", "show"]])
def test_a_study_by_position_and_by_option(
    command: list[str],
    place: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(estimate, "estimate", lambda runs, device: [Line("online", "policy updates", 1, 1, 1.0)])
    study, *scale = files(tmp_path, scale=SCALE.replace("epochs: 2", "epochs: 1"))
    assert main([*command, *scale, *(word.format(study=study) for word in place)]) == 0
    assert "s-tiny: 4 runs of 2 methods" in capsys.readouterr().out


def test_a_dry_run_without_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a cost is promised for a call that would stop at once, or is not told for want of the data."""
    monkeypatch.setattr(estimate, "estimate", lambda runs, device: [Line("online", "policy updates", 1, 1, 1.0)])
    words = files(tmp_path, scale=SCALE.replace("self:pendulum-medium", "local:pendulum:nowhere.hdf5"))
    assert main(["reproduce", "--dry-run", "--root", str(tmp_path), *words]) == 0
    printed = capsys.readouterr()
    assert "s-tiny: 4 runs" in printed.out
    assert "nowhere.hdf5 is not a file" in printed.err


def test_a_shipped_study_with_its_ending(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "status", "sampling.yaml", "--scale", "mini.yaml", "--root", "nowhere"]) in (0, 2)
    assert "no such file" not in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"moore \S+.*, commit \w+(-dirty)?\n", capsys.readouterr().out)


def test_a_terminal_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if `→` ends a command in a traceback, or two marks look alike."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["--version"]) == 0
    print("1→2 ± 3 ≈ ≠ é")
    sys.stdout.flush()
    assert raw.getvalue().decode("ascii").splitlines()[1] == "1->2 +- 3 ~ /= ?"


def test_a_path_in_a_yaml_is_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a study means another file where it is called from another folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    words = files(folder, scale=SCALE.replace("self:pendulum-medium", "local:pendulum:own.hdf5"))
    for here, dataset in (
        (tmp_path, "local:pendulum:mine/own.hdf5"),
        (folder, "local:pendulum:own.hdf5"),
        (Path("/"), f"local:pendulum:{str(folder).lstrip('/')}/own.hdf5"),
        (tmp_path.parent / "elsewhere", f"local:pendulum:{folder}/own.hdf5"),
    ):
        here.mkdir(exist_ok=True)
        monkeypatch.chdir(here)
        assert {run.dataset for run in load_study(Path(words[0]), Path(words[2])).runs} == {dataset, None}


def test_a_long_path_is_no_long_name() -> None:
    """Breaks if the folder of a run has a longer name than file systems take, or two long ids share one."""
    runs = [RunConfig("pendulum", "local:" + "/".join(["d" * 60] * 4) + f"/{name}.hdf5") for name in "ab"]
    names = {run_id(run) for run in runs}
    assert len(names) == 2
    assert max(map(len, names)) < 200


def test_doctor_and_config(capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a setting is missing, or its origin is another layer than the one that sets it."""
    assert main(["doctor"]) == 0
    assert {"torch", "cores", "gpu", "slurm", "d4rl"} <= {
        line.split()[0] for line in capsys.readouterr().out.splitlines()
    }
    assert main(["config", "iql", "--scale", "mini"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert " iql at mini" in lines["agent.value_lr"]
    assert " default" in lines["eval_episodes"]
    assert main(["config", "moore", "--scale", "mini", "--explain", "penalty.coef"]) == 0
    assert "penalty.coef = 0.5 or 0.02 or 1.0: lambda (algorithm/penalty.py:" in capsys.readouterr().out
    assert "'penalty.coef'" in refusal(["config", "moore", "--explain", "penalty.coeff"], capsys)
