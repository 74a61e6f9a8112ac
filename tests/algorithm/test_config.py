"""Bad input: exit code 2 and one line that names the file, the key and what is accepted; never a traceback."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.base.strict import nested
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


def change(key: str, value: Any) -> dict[str, Any]:
    """A scale whose defaults have this value."""
    return {"defaults": nested({key: value})}


SCRATCH = {"tasks": [{"env": "pendulum", "dataset": None}]}
BAD_SCALES: list[tuple[dict[str, Any], list[str]]] = [
    (change("sampling.anneal_start", -0.1), ["sampling.anneal_start", "-0.1"]),  # the range that its annotation says
    (change("penalty.rescale", "yes"), ["penalty.rescale", "yes"]),
    (change("real_ratio", 1.0), ["real_ratio", "1.0"]),  # a model that nothing is drawn from: algorithm sac
    (change("agent.hidden", [64, "x"]), ["agent.hidden[1]", "'x'"]),
    (change("online.epoch", 2), ["online.epoch", "'epochs'"]),
    (change("sampling.model_batches", "prioritised"), ["sampling.model_batches", "'prioritized'"]),
    (change("penalty.uncertainty", "std"), ["penalty.uncertainty", "max_std"]),
    # nothing to compare the online data with
    (SCRATCH | change("sampling.model_batches", "density_ratio"), ["sampling.model_batches", "'density_ratio'"]),
    (SCRATCH | change("sampling.start_states", "on_policy"), ["sampling.start_states", "'on_policy'"]),
    (  # what depends on other settings
        {"defaults": {"sampling": {"start_states": "density_ratio"}, "density_ratio": {"first_share": 1}}},
        ["density_ratio.first_share", "below 1"],
    ),
    (change("dynamics.hidden", [8]), ["dynamics.weight_decay", "2 numbers"]),
    (change("dynamics.num_elites", 9), ["dynamics.num_elites", "ensemble_size = 7"]),
    (change("online.retrain_interval", 2000), ["online.retrain_interval", "epoch_steps = 1000"]),
    (change("online.update_interval", 300), ["online.update_interval", "0 or a divisor of 1000"]),
    (change("agent", {"batch_size": 8, "num_critics": 10}), ["agent.num_critics", "at most 8"]),
    (change("physics", "d4rl"), ["pendulum", "'d4rl'", "gymnasium"]),
    ({"tasks": [{"env": "pendulm", "dataset": None}]}, ["'pendulm'", "'pendulum'"]),
    (
        {"tasks": [{"env": "pendulum", "dataset": "self:pendulum-medum"}]},
        ["tasks[0].dataset", "'self:pendulum-medium'"],
    ),
    ({"tasks": [{"env": "hopper", "dataset": "self:pendulum-medium"}]}, ["tasks[0].dataset", "pendulum", "hopper"]),
    ({"tasks": []}, ["tasks"]),
    ({"tasks": [*SCALE["tasks"], SCALE["tasks"][0] | {"penalty": {"coef": 9}}]}, ["occurs twice"]),
    ({"scale": "../elsewhere"}, ["scale: '../elsewhere' is not accepted"]),
    ({"seeds": []}, ["seeds: []"]),
    ({"seeds": [-1]}, ["seeds[0]", "-1"]),
    ({"methods": {"sca": {}}}, ["methods", "'sca'", "sac"]),
    ({"methods": {"sac": {"agent": {"temperature": 2.0}}}}, ["method sac", "no agent.temperature", "agent.alpha_lr"]),
]


@pytest.mark.parametrize(("changes", "words"), BAD_SCALES, ids=[" ".join(words[:2]) for _, words in BAD_SCALES])
def test_bad_scale(
    changes: dict[str, Any], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a check is missing or its message does not say where and what."""
    study, scale = write(tmp_path, STUDY | {"methods": ["sac"]}, SCALE | changes)
    said = message(
        ["reproduce", "--study", str(study), "--scale", str(scale), "--root", str(tmp_path / "runs")], capsys
    )
    for word in [str(scale), *words]:
        assert word in said
    assert not (tmp_path / "runs").exists()


def test_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a missing file or a misspelt name is not answered with what there is."""
    assert "did you mean 'mini'" in message(["reproduce", "--scale", "mni"], capsys)
    assert "did you mean 'sampling'" in message(["reproduce", "--study", "samplng"], capsys)
    missing = str(tmp_path / "no.yaml")
    assert f"{missing}: no such file" in message(["reproduce", "--scale", missing], capsys)
    assert "--workers: -1" in message(["reproduce", "--workers", "-1"], capsys)
    assert "--device: 'abacus' is not available here" in message(["reproduce", "--device", "abacus"], capsys)


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
        assert run.seed or from_mapping(to_mapping(run), "again") == run
        if run.dataset is not None and run.dataset_transitions is not None:
            online = run.online
            assert run.dataset_transitions / (online.epoch_steps * online.epochs**2) == pytest.approx(0.1)


def test_study_is_variants_x_tasks_x_seeds_and_references_once(tmp_path: Path) -> None:
    """Breaks if runs are lost or doubled, references keep a dataset, or cohorts mix shapes or datasets."""
    tasks = [{"env": "pendulum", "dataset": f"self:pendulum-{quality}"} for quality in ("medium", "low")]
    scale = SCALE | {"tasks": tasks}
    study = load_study(*write(tmp_path, STUDY | {"methods": ["sac"]}, scale))
    assert study.name == "s-x"
    assert len(study.runs) == 2 * 2 * 2 + 2
    assert sorted(len(cohort) for cohort in study.cohorts()) == [2, 4, 4]
    for cohort in study.cohorts():
        assert len({(run.dataset, run.real_ratio) for run in cohort}) == 1
    assert [run.dataset for run in study.runs if run.method == "sac"] == [None, None]


def test_defaults() -> None:
    """Breaks if nested changes reset their neighbours, or an empty mapping is not the defaults."""
    config = from_mapping({"env": "pendulum", "agent": {"actor_lr": 1e-3, "hidden": [4]}}, "x")
    assert (config.agent.actor_lr, config.agent.hidden, config.agent.gamma) == (1e-3, (4,), 0.99)
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}
    with pytest.raises(UserError, match=r"x: agent\.actor_lr"):
        from_mapping({"env": "pendulum", "agent": {"actor_lr": "fast"}}, "x")
    assert RunConfig("pendulum") == from_mapping({"env": "pendulum"}, "x")
