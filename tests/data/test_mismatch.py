"""A run in another physics than its dataset: measured, said before training, in both manifests and below the table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from analysis.io.rows import load_study as load_rows
from analysis.output.notes import notes
from moore.data.check import physics_mismatch, replay_error
from moore.data.hdf5 import Dataset, write_dataset
from moore.run.collect import collect
from moore.studies.axes import merge
from moore.studies.study import Study, load_study
from tests.support.core import TINY
from tests.support.datasets import recorded
from tests.support.resume_units import train

SMALL = {"env": "hopper", "physics": "gymnasium", "offline": {"updates": 10}, "online": {"epochs": 1}}
SCALE = {
    "scale": "tiny",
    "seeds": [0],
    "defaults": {key: value for key, value in merge(TINY, SMALL).items() if key != "dataset"},
}


def stateless(dataset: Dataset) -> Dataset:
    return replace(dataset, qpos=None, qvel=None)


def test_measured_under_the_physics_of_the_run() -> None:
    dataset = recorded("hopper", "d4rl", 200)
    assert physics_mismatch(dataset, "d4rl") is None
    error = replay_error(dataset, "gymnasium")
    other = physics_mismatch(dataset, "gymnasium")
    assert (other.dataset_physics, other.run_physics) == ("d4rl", "gymnasium")
    assert (other.median, other.p99, other.max) == (error.median, error.p99, error.max)
    assert 1e-3 < error.median < error.p99 < error.max
    assert f"median {error.median:.1e}, p99 {error.p99:.1e}, max {error.max:.1e}" in other.sentence("local:x")


def test_an_unknown_physics_is_called_unknown() -> None:
    unlabelled = replace(recorded("hopper", "d4rl", 200), metadata={})
    measured = physics_mismatch(unlabelled, "d4rl")
    assert measured.dataset_physics == "unknown"
    assert measured.max < 1e-6
    unmeasured = physics_mismatch(stateless(unlabelled), "d4rl")
    assert (unmeasured.dataset_physics, unmeasured.median, unmeasured.p99, unmeasured.max) == ("unknown", *[None] * 3)
    assert "median" not in unmeasured.sentence("local:x")
    foreign = physics_mismatch(replace(unlabelled, metadata={"physics": "Hopper-v4"}), "gymnasium")
    assert "Hopper-v4" in foreign.sentence("local:x")


def small_study(folder: Path, datasets: dict[str, Dataset]) -> Study:
    """One strategy on one seed of every dataset, in Gymnasium's physics."""
    tasks = []
    for name, dataset in datasets.items():
        write_dataset(folder / f"{name}.hdf5", dataset)
        tasks.append({"dataset": f"local:{folder / name}.hdf5"})
    (folder / "study.yaml").write_text(yaml.safe_dump({"study": "s", "variants": {"prioritized": {}}}))
    (folder / "scale.yaml").write_text(yaml.safe_dump(SCALE | {"tasks": tasks}))
    return load_study(folder / "study.yaml", folder / "scale.yaml")


def test_from_data_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same, other = recorded("hopper", "gymnasium", 200), recorded("hopper", "d4rl", 200)
    unlabelled = replace(stateless(same), metadata={"env": "hopper"})
    study = small_study(tmp_path, {"same": same, "other": other, "unlabelled": unlabelled})
    ids = {name: f"local:{tmp_path / name}.hdf5" for name in ("same", "other", "unlabelled")}
    mismatches = {name: physics_mismatch(d, "gymnasium") for name, d in (("other", other), ("unlabelled", unlabelled))}
    sentences = {name: found.sentence(ids[name]) for name, found in mismatches.items() if found is not None}
    assert len(sentences) == 2

    train(study, tmp_path / "runs")
    said = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert sorted(line for line in said if "physics" in line) == sorted(
        f"moore: warning: {sentence}" for sentence in sentences.values()
    )
    train(study, tmp_path / "runs")
    assert capsys.readouterr().err == ""  # nothing is trained, so nothing is said

    error = replay_error(other, "gymnasium")
    measured = {"median": error.median, "p99": error.p99, "max": error.max}
    expected = {
        ids["same"]: None,
        ids["other"]: {"dataset_physics": "d4rl", "run_physics": "gymnasium", **measured},
        ids["unlabelled"]: {"dataset_physics": "unknown", "run_physics": "gymnasium", **dict.fromkeys(measured)},
    }
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/runs/*/manifest.json")]
    assert len(manifests) == 6  # an offline stage and a run for every dataset
    for manifest in manifests:
        assert manifest["physics_mismatch"] == expected[manifest["config"]["dataset"]]

    folder = collect(study, tmp_path / "runs", tmp_path / "results", "make it")
    entries = json.loads((folder / "manifest.json").read_text())["physics_mismatch"]
    assert {entry.pop("dataset"): entry for entry in entries} == {id: m for id, m in expected.items() if m is not None}

    said = notes(load_rows(folder))
    assert [said.count(sentence) for sentence in sentences.values()] == [1] * len(sentences)
    assert ids["same"] not in " ".join(said)
    assert any("unlabelled.hdf5 does not record its physics" in sentence for sentence in said)
