"""The sampling study on `d4rl:` ids, given files of D4RL's names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from moore.algorithm.config import to_mapping
from moore.data.d4rl import FILES
from moore.data.hdf5 import write_dataset
from moore.data.make import make_self_dataset
from moore.run.collect import collect
from moore.run.local import check_datasets
from moore.run.unit import Unit
from moore.studies.study import ABLATIONS_DIR, load_study

IDS = ("d4rl:hopper-medium-replay-v2", "d4rl:hopper-random-v2")
SCALE = """
scale: tiny
seeds: [0]
defaults:
  physics: d4rl
  dataset_transitions: 400
  eval_episodes: 1
  sac: {{hidden: [8], batch_size: 16}}
  dynamics: {{ensemble_size: 2, num_elites: 1, hidden: [8], weight_decay: [0.0, 0.0], batch_size: 16,
             epoch_updates: 5, offline_max_updates: 10, online_max_updates: 5}}
  rollout: {{length: 1, batch_size: 20, retain: 2}}
  offline: {{updates: 20, rollout_interval: 20, eval_interval: 20}}
  online: {{epochs: 2, epoch_steps: 10, retrain_interval: 10, utd_ratio: 1}}
tasks:
  - {{env: hopper, dataset: "{0}"}}
  - {{env: hopper, dataset: "{1}"}}
methods:
  sac: {{online: {{exploration_steps: 10}}}}
  mbpo: {{online: {{exploration_steps: 10}}, rollout: {{length: 1, batch_size: 20, retain: 2}}}}
"""


def test_sampling_study_on_d4rl_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a scale that names D4RL's ids needs anything but the files: size, physics or columns of its own."""
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    for id, quality in zip(IDS, ("medium-replay", "random"), strict=True):
        made = make_self_dataset("hopper", quality, 700, physics="d4rl")
        path = tmp_path / FILES[id].name
        write_dataset(path, replace(made, metadata={"algorithm": "SAC"}))  # D4RL's files name no environment
        content = path.read_bytes()
        entry = FILES[id]._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(FILES, id, entry)
    scale = tmp_path / "tiny.yaml"
    scale.write_text(SCALE.format(*IDS))
    study = load_study(ABLATIONS_DIR / "sampling.yaml", scale)
    check_datasets(study, tmp_path)
    (tmp_path / study.name / "units").mkdir(parents=True)
    for number, runs in enumerate(study.cohorts()):
        spec = {"study": study.name, "name": str(number), "root": str(tmp_path), "device": "cpu"}
        Unit(spec | {"runs": [to_mapping(run) for run in runs]}, scale).run()
    folder = collect(study, tmp_path, tmp_path / "results", "a test")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["physics_mismatch"] == []
    assert {id: facts["transitions"] for id, facts in manifest["datasets"].items()} == dict.fromkeys(IDS, 400)
    rows = pd.read_parquet(folder / "rows.parquet")
    finals = rows[(rows["metric"] == "eval/score") & (rows["env_steps"] == 20)]
    strategies = ("prioritized", "uniform", "half_half", "pure_online")
    expected = {(name, id) for name in strategies for id in IDS} | {("sac", "none:hopper"), ("mbpo", "none:hopper")}
    assert set(zip(finals["method"], finals["dataset"], strict=True)) == expected
