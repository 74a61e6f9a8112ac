"""What users have typed: each is done, or is one line with exit code 2 before anything is trained."""

import io
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.base.strict import dotted, nested
from moore.cli.main import main
from moore.run.local import check_datasets
from moore.studies.identity import run_id
from moore.studies.study import load_study
from tests.support.resume_units import RUN

SCALE = """
scale: tiny
seeds: [0, 1]
defaults: {dataset_transitions: 600, online: {epochs: 2, epoch_steps: 20, retrain_interval: 10}}
tasks:
  - {env: pendulum, dataset: "self:pendulum-medium"}
methods: {sac: {online: {exploration_steps: 10}}}
"""
STUDY = "study: s\nmethods: [moore, sac]\n"
ALGORITHMS = ("moore", "sac", "awac", "cql", "iql", "td3_bc", "balanced_replay")


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


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("axes: {online.epochs: [2, 4]}", ["online steps", "40", "80"]),
        ("axes: {eval_episodes: [2, 4]}", ["eval episodes", "2", "4"]),
        ("variants: {a: {}, b: {seed: 7}}", ["b: seed", "scale"]),
        ("variants: {a: {}, b: {method: other}}", ["b: method"]),
        ("variants:\n  a: {}\n  a: {real_ratio: 0.5}", ["duplicate key 'a'"]),
        ("variants:\n  a: {online: {utd_ratio: 2}, online: {utd_ratio: 3}}", ["duplicate key 'online'"]),
        ("variants: {a: {}}\n---\nstudy: t", ["another document"]),
        ("variants: {a: {online: {utd_ratio: 010}}}", ["online.utd_ratio", "'010'"]),
        ("variants: {a: {}}\ntasks: {minI: ['self:pendulum-medium']}", ["tasks", "'minI'", "'mini'"]),
        ("methods: [{moore: {}}]", ["methods[0]"]),
        ("axes: {on: [1, 2]}", ["true: unknown key"]),
        ("variants: {a: {algorithm: [sac]}}", ["algorithm", "sac"]),
        ("variants: &a\n  b: *a", ["holds itself"]),
        ("variants: {a: {agent: {target_entropy: .nan}}}", ["agent.target_entropy", "nan"]),
        ("variants: {a: {dynamics: {holdout_ratio: 0.0005}}}", ["dynamics.holdout_ratio", "600"]),
        ("variants: {a: {agent: {hiden: [3]}}}", ["agent.hiden; did you mean"]),
        ("axes: {agent.gamma: [0.99, 0.99]}", ["axes.agent.gamma", "twice"]),
    ],
)
def test_a_bad_study(study: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(["reproduce", *files(tmp_path, f"study: s\n{study}\n"), "--root", str(tmp_path / "runs")], capsys)
    assert all(word in said for word in ["study.yaml", *words]), said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('- {env: pendulum, dataset: "self:pendulum-medium"}', '- {dataset: "self:pendulum-medium"}', ["env: missing"]),
        ("dataset_transitions: 600", "agent: {hidden: 64}", ["agent.hidden: 64", "a list"]),
        ("methods: {sac: {online: {exploration_steps: 10}}}", "", ["exploration_steps: 5000", "`methods`"]),
        (
            "tasks:\n",
            'tasks:\n  - {env: pendulum, dataset: "self:pendulum-low", online: {epochs: 4}}\n',
            ["online steps"],
        ),
    ],
)
def test_a_bad_scale(old: str, new: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert old in SCALE
    said = refusal(["study", "show", *files(tmp_path, scale=SCALE.replace(old, new))], capsys)
    assert all(word in said for word in words), said


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding(encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = files(tmp_path)
    Path(words[0]).write_bytes(f"# é\n{STUDY}".encode(encoding))
    assert "not UTF-8" in refusal(["study", "show", *words], capsys)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_setting_is_nan_or_infinite(algorithm: str) -> None:
    """Breaks if a new number has no range."""
    base: dict[str, Any] = {"env": "pendulum", "dataset": "self:pendulum-medium", "algorithm": algorithm}
    for key, value in dotted(to_mapping(from_mapping(base, "x"))).items():
        for bad in (math.nan, math.inf, -math.inf):
            with pytest.raises(UserError):
                from_mapping(nested(base | {key: [bad] * len(value) if isinstance(value, list) else bad}), "x")


def test_names_of_axes_tell_values_apart(tmp_path: Path) -> None:
    """Breaks if 1.0e+6 makes a name that is refused, or two values that differ in the tenth digit one name."""
    words = files(tmp_path, "study: s\naxes: {penalty.coef: [1.0, 1.0e+6], agent.gamma: [0.99, 0.9900000001]}\n")
    methods = {run.method for run in load_study(Path(words[0]), Path(words[2])).runs}
    assert methods == {f"coef-{coef}-gamma-{gamma}" for coef in ("1", "1e06") for gamma in ("0.99", "0.9900000001")}


@pytest.mark.parametrize("place", [["{study}"], ["--study", "{study}"], ["--study={study}"]])
@pytest.mark.parametrize("command", [["reproduce", "--dry-run"], ["study", "show"]])
def test_a_study_by_position_and_by_option(
    command: list[str], place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, *scale = files(tmp_path, scale=SCALE.replace("epochs: 2", "epochs: 1"))
    assert main([*command, *scale, *(word.format(study=study) for word in place)]) == 0
    assert "s-tiny: 4 runs of 2 methods" in capsys.readouterr().out


def test_a_shipped_study_with_its_ending(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "status", "sampling.yaml", "--scale", "mini.yaml", "--root", "nowhere"]) in (0, 2)
    assert "no such file" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "make", "self:pendulum-medium", "--transitions", "1e3"], "Error parsing --transitions"),
        (["reproduce", "a", "b"], "Unrecognized options: b"),
        (["study", "show"], "Missing from moore study show"),
        (["reproduced"], "Available subcommands: reproduce,"),
    ],
)
def test_wrong_options_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a slip of the pen is answered with a box."""
    assert said in refusal(words, capsys)


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


def test_two_ids_of_one_file_are_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.hdf5").write_bytes(b"")
    task = '- {env: pendulum, dataset: "self:pendulum-medium"}'
    twice = '- {env: pendulum, dataset: "local:own.hdf5"}\n  - {env: pendulum, dataset: "local:pendulum:own.hdf5"}'
    words = files(tmp_path, scale=SCALE.replace(task, twice))
    with pytest.raises(UserError, match=r"local:pendulum:own\.hdf5: is local:own\.hdf5 again"):
        check_datasets(load_study(Path(words[0]), Path(words[2])), tmp_path / "runs")


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


def test_run_is_a_run() -> None:
    """RUN of the tests' support is accepted as it is: the refusals above are of what they change."""
    from_mapping(RUN, "RUN")
