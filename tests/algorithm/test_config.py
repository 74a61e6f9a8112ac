"""Bad input: exit code 2 and one line that names the file, the key and what is accepted; never a traceback."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.cli.main import main
from moore.studies.axes import merge
from moore.studies.study import ABLATIONS_DIR, load_study

STUDY: dict[str, Any] = {
    "study": "s",
    "variants": {"prioritized": {}, "uniform": {"sampling": {"model_batches": "uniform"}}},
}
SCALE: dict[str, Any] = {
    "scale": "x",
    "seeds": [0, 1],
    "defaults": {"online": {"epochs": 2}},
    "tasks": [{"env": "pendulum", "dataset": "self:pendulum-medium"}],
    "methods": {"sac": {"online": {"exploration_steps": 10}}},
}


def write(tmp_path: Path, study: Any, scale: Any) -> tuple[Path, Path]:
    paths = tmp_path / "study.yaml", tmp_path / "scale.yaml"
    for path, values in zip(paths, (study, scale), strict=True):
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return paths


def message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `moore` says, after checking that it is one line and the exit code 2."""
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("moore: ")
    return lines[0]


BAD_SCALES: list[tuple[dict[str, Any], list[str]]] = [
    ({"defaults": {"onlin": {}}}, ["onlin", "unknown key", "online"]),
    ({"defaults": {"online": {"epoch": 2}}}, ["online.epoch", "did you mean online.epochs"]),
    ({"defaults": {"online": {"epochs": "many"}}}, ["online.epochs", "'many'", "int"]),
    ({"defaults": {"online": {"epochs": 0}}}, ["online.epochs", "1 or more"]),
    ({"defaults": {"online": None}}, ["online", "mapping"]),
    ({"defaults": {"eval_episodes": True}}, ["eval_episodes", "int"]),
    (
        {"defaults": {"sampling": {"model_batches": "prioritised"}}},
        ["sampling.model_batches", "did you mean 'prioritized'"],
    ),
    ({"defaults": {"sampling": {"start_states": "oob"}}}, ["sampling.start_states", "did you mean 'oorb'"]),
    ({"defaults": {"sampling": {"real_batches": "on-policy"}}}, ["sampling.real_batches", "did you mean 'on_policy'"]),
    ({"defaults": {"sampling": {"decay_rate": 0}}}, ["sampling.decay_rate", "above 0"]),
    ({"defaults": {"sampling": {"online_ratio": 1.5}}}, ["sampling.online_ratio", "1.5", "from 0 to 1"]),
    ({"defaults": {"sampling": {"anneal_start": -0.1}}}, ["sampling.anneal_start", "-0.1", "from 0 to 1"]),
    ({"defaults": {"sampling": {"anneal_end": 2}}}, ["sampling.anneal_end", "2.0", "from 0 to 1"]),
    ({"defaults": {"sampling": {"anneal_epochs": 0}}}, ["sampling.anneal_epochs", "1 or more"]),
    ({"defaults": {"sampling": {"fresh_share": 1.1}}}, ["sampling.fresh_share", "1.1", "from 0 to 1"]),
    ({"defaults": {"sampling": {"fresh_window": 20_000}}}, ["sampling.fresh_window", "from 0 to 1"]),
    ({"defaults": {"sampling": {"on_policy_temperature": 0}}}, ["sampling.on_policy_temperature", "above 0"]),
    ({"defaults": {"sampling": {"return_base": 0}}}, ["sampling.return_base", "above 0"]),
    ({"defaults": {"sampling": {"error_exponent": -1}}}, ["sampling.error_exponent", "0 or more"]),
    (  # their weights come with the model
        {"defaults": {"real_ratio": 1.0, "sampling": {"real_batches": "model_error"}}},
        ["sampling.real_batches", "'model_error'", "one of prioritized"],
    ),
    (  # nothing to compare the online data with
        {"tasks": [{"env": "pendulum", "dataset": None}], "defaults": {"sampling": {"model_batches": "density_ratio"}}},
        ["sampling.model_batches", "'density_ratio'", "in a run from scratch"],
    ),
    (
        {"tasks": [{"env": "pendulum", "dataset": None}], "defaults": {"sampling": {"start_states": "on_policy"}}},
        ["sampling.start_states", "'on_policy'", "in a run from scratch"],
    ),
    (
        {
            "defaults": {"sampling": {"start_states": "density_ratio"}, "density_ratio": {"first_share": 1}},
        },
        ["density_ratio.first_share", "below 1"],
    ),
    ({"defaults": {"density_ratio": {"model_updates": 0}}}, ["density_ratio.model_updates", "1 or more"]),
    ({"defaults": {"penalty": {"online_factor": -0.5}}}, ["penalty.online_factor", "-0.5", "0 or more"]),
    ({"defaults": {"penalty": {"schedule": "adaptve"}}}, ["penalty.schedule", "did you mean 'adaptive'"]),
    ({"defaults": {"penalty": {"rescale": "yes"}}}, ["penalty.rescale", "'yes'", "bool"]),
    ({"defaults": {"online": {"rollout_length": 0}}}, ["online.rollout_length", "1 or more"]),
    ({"defaults": {"online": {"real_ratio": 1.01}}}, ["online.real_ratio", "1.01", "from 0 to 1"]),
    ({"defaults": {"penalty": {"uncertainty": "std"}}}, ["penalty.uncertainty", "max_std"]),
    ({"defaults": {"agent": {"hidden": [64, "x"]}}}, ["agent.hidden[1]", "int"]),
    ({"defaults": {"dynamics": {"hidden": [8]}}}, ["dynamics.weight_decay", "2 numbers"]),
    ({"defaults": {"dynamics": {"num_elites": 9}}}, ["dynamics.num_elites", "ensemble_size = 7"]),
    ({"defaults": {"offline": {"rollout_interval": 0}}}, ["offline.rollout_interval", "1 or more"]),
    ({"defaults": {"online": {"retrain_interval": 2000}}}, ["online.retrain_interval", "epoch_steps = 1000"]),
    ({"defaults": {"online": {"update_interval": 300}}}, ["online.update_interval", "0 or a divisor of 1000"]),
    (
        {"defaults": {"agent": {"batch_size": 8, "num_critics": 10}}},
        ["agent.num_critics", "at most 8"],
    ),
    ({"defaults": {"physics": "d4rl"}}, ["pendulum", "'d4rl'", "gymnasium"]),
    ({"defaults": 3}, ["defaults", "mapping"]),
    ({"tasks": [{"env": "pendulm", "dataset": None}]}, ["'pendulm'", "did you mean 'pendulum'"]),
    (
        {"tasks": [{"env": "pendulum", "dataset": "self:pendulum-medum"}]},
        ["tasks[0].dataset", "did you mean 'self:pendulum-medium'"],
    ),
    ({"tasks": [{"env": "hopper", "dataset": "self:pendulum-medium"}]}, ["tasks[0].dataset", "pendulum", "hopper"]),
    ({"tasks": [{"dataset": None}]}, ["env", "missing"]),
    ({"tasks": []}, ["tasks", "non-empty list"]),
    ({"seeds": 3}, ["seeds", "list"]),
    ({"seeds": [-1]}, ["seed", "0 or more"]),
    ({"seed": [1]}, ["seed", "unknown key"]),
    ({"methods": {"sac": 3}}, ["methods.sac", "mapping"]),
    ({"methods": {"sca": {}}}, ["methods", "'sca'", "sac"]),
    ({"methods": {"sac": {"agent": {"temperature": 2.0}}}}, ["method sac", "no agent.temperature", "agent.alpha_lr"]),
]


@pytest.mark.parametrize(("changes", "words"), BAD_SCALES, ids=[" ".join(words[:2]) for _, words in BAD_SCALES])
def test_bad_scale(
    changes: dict[str, Any], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a check is missing or its message does not say where and what."""
    study, scale = write(tmp_path, STUDY | {"references": ["sac"]}, SCALE | changes)
    said = message(
        ["reproduce", "--study", str(study), "--scale", str(scale), "--root", str(tmp_path / "runs")], capsys
    )
    for word in [str(scale), *words]:
        assert word in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ({"study": "s"}, ["variants", "methods"]),
        (STUDY | {"methods": ["awca"]}, ["methods", "'awca'", "did you mean 'awac'"]),
        (STUDY | {"methods": ["awac", "awac"]}, ["methods", "'awac' occurs twice"]),
        (
            STUDY | {"variants": {"a": {"algorithm": "iql", "penalty": {"coef": 1.0}}}},
            ["method a (algorithm iql)", "no penalty.coef", "agent.expectile", "agent.hidden"],
        ),
        (STUDY | {"variants": {"a": {"algorithm": "awak"}}}, ["algorithm", "did you mean 'awac'"]),
        *(
            (
                STUDY | {"variants": {"a": {"algorithm": "awac", section: {key: 1}}}},
                ["method a (algorithm awac)", f"no {section}.{key}"],
            )
            for section, key in (
                ("online", "rollout_length"),
                ("online", "real_ratio"),
                ("sampling", "error_exponent"),
                ("density_ratio", "model_updates"),
            )
        ),
        (STUDY | {"variants": {"a": 3}}, ["variants.a", "mapping"]),
        (STUDY | {"references": "sac"}, ["references", "list"]),
        (STUDY | {"varants": {}}, ["varants", "unknown key"]),
        ("a: [1", ["cannot be read as YAML"]),
        ("- 1", ["expected a mapping"]),
    ],
)
def test_bad_study(study: Any, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a broken study file ends in a traceback."""
    path, scale = write(tmp_path, study, SCALE)
    said = message(["reproduce", "--study", str(path), "--scale", str(scale)], capsys)
    for word in [str(path), *words]:
        assert word in said


def test_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a missing file or a misspelt name is not answered with what there is."""
    assert "did you mean 'mini'" in message(["reproduce", "--scale", "mni"], capsys)
    assert "did you mean 'sampling'" in message(["reproduce", "--study", "samplng"], capsys)
    missing = str(tmp_path / "no.yaml")
    assert f"{missing}: no such file" in message(["reproduce", "--scale", missing], capsys)
    assert "--workers: -1" in message(["reproduce", "--workers", "-1"], capsys)


def test_reference_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a study asks for a reference that does not exist and nobody says so."""
    study, scale = write(tmp_path, STUDY | {"references": ["td3"]}, SCALE)
    said = message(["reproduce", "--study", str(study), "--scale", str(scale)], capsys)
    assert "'td3'" in said
    assert "td3_bc" in said


def test_root_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a file where a folder should be ends in a traceback (also for root, who may write anywhere)."""
    study, scale = write(tmp_path, STUDY, SCALE)
    root = tmp_path / "runs"
    root.write_text("a file")
    said = message(["reproduce", "--study", str(study), "--scale", str(scale), "--root", str(root)], capsys)
    assert str(root) in said
    assert "--root" in said


@pytest.mark.parametrize("scale", sorted((ABLATIONS_DIR / "scales").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("study", sorted(ABLATIONS_DIR.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_files(study: Path, scale: Path) -> None:
    """Breaks if a shipped study or scale does not load, or a scale leaves N_off / (S T^2) = 0.1."""
    runs = load_study(study, scale).runs
    assert runs
    for run in runs:
        assert from_mapping(to_mapping(run), "again") == run
        if run.dataset is not None and run.dataset_transitions is not None:
            online = run.online
            assert run.dataset_transitions / (online.epoch_steps * online.epochs**2) == pytest.approx(0.1)


def test_study_is_variants_x_tasks_x_seeds_and_references_once(tmp_path: Path) -> None:
    """Breaks if runs are lost or doubled, references keep a dataset, or cohorts mix shapes or datasets."""
    tasks = [{"env": "pendulum", "dataset": f"self:pendulum-{quality}"} for quality in ("medium", "low")]
    scale = SCALE | {"tasks": tasks}
    study = load_study(*write(tmp_path, STUDY | {"references": ["sac"]}, scale))
    assert study.name == "s-x"
    assert len(study.runs) == 2 * 2 * 2 + 2
    assert sorted(len(cohort) for cohort in study.cohorts()) == [2, 4, 4]
    for cohort in study.cohorts():
        assert len({(run.dataset, run.real_ratio) for run in cohort}) == 1
    assert [run.dataset for run in study.runs if run.method == "sac"] == [None, None]


def test_yaml_floats_and_defaults() -> None:
    """Breaks if 3e-4, which YAML 1.1 reads as text, is refused, or nested changes reset their neighbours."""
    config = from_mapping({"env": "pendulum", "agent": yaml.safe_load("{actor_lr: 1e-3, hidden: [4]}")}, "x")
    assert (config.agent.actor_lr, config.agent.hidden, config.agent.gamma) == (1e-3, (4,), 0.99)
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}
    with pytest.raises(UserError, match=r"x: agent\.actor_lr"):
        from_mapping({"env": "pendulum", "agent": {"actor_lr": "fast"}}, "x")
    assert RunConfig("pendulum") == from_mapping({"env": "pendulum"}, "x")
