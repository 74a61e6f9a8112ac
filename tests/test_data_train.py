"""Training of behaviour ladders: interrupted equals uninterrupted, and the exported command repeats the settings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from moore.data.behaviours import load_behaviours
from moore.data.train import BehaviourConfig, command, export, train
from moore.sac import SACConfig

CONFIG = BehaviourConfig(
    "pendulum",
    medium_score=-200.0,  # any policy reaches it: medium is the first snapshot
    max_steps=120,
    exploration_steps=20,
    snapshot_interval=40,
    episodes=2,
    sac=SACConfig(hidden=(8,), batch_size=8),
)


def test_resumed_ladder_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Breaks if the checkpoint lacks anything that training depends on, or the export loses a snapshot."""
    whole = replace(CONFIG, checkpoint=tmp_path / "whole", out=tmp_path / "out")
    halves = replace(CONFIG, checkpoint=tmp_path / "halves", out=tmp_path / "resumed")
    export(train(whole))
    train(replace(halves, max_steps=40))
    torch.rand(1)  # a global draw in between must not matter
    export(train(halves))
    first, second = (load_behaviours("pendulum", folder) for folder in (whole.out, halves.out))
    np.testing.assert_array_equal(first.params, second.params)
    assert first.env_steps.tolist() == [40, 80, 120]
    assert first.medium == second.medium == 0
    assert first.provenance["curve"] == second.provenance["curve"]


def test_command_names_every_setting_that_is_not_a_default() -> None:
    """Breaks if a provenance file's command would train something else."""
    text = command(CONFIG)
    for part in ("pendulum", "--medium-score -200.0", "--max-steps 120", "--sac.hidden 8", "--sac.batch-size 8"):
        assert part in text
    assert "--seed" not in text
    assert json.dumps(text)
