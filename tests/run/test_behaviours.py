"""Training of behaviour ladders: interrupted equals uninterrupted, what is kept of them, and the command line."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.agents.sac import SACConfig
from moore.base.errors import UserError
from moore.data.behaviours import kept_snapshots, load_behaviours
from moore.data.make import make_self_dataset
from moore.run.behaviours import (
    BehaviourConfig,
    BehaviourTraining,
    check_config,
    command,
    export,
    main,
    train,
)

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
    assert first.expert == second.expert == np.argmax(first.scores)
    assert first.provenance["curve"] == second.provenance["curve"]


def test_command_names_every_setting_that_is_not_a_default() -> None:
    """Breaks if a provenance file's command would train something else."""
    text = command(CONFIG)
    for part in ("pendulum", "--medium-score -200.0", "--max-steps 120", "--sac.hidden 8", "--sac.batch-size 8"):
        assert part in text
    assert "--seed" not in text
    assert json.dumps(text)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), count=st.integers(1, 300), size=st.integers(2, 30))
def test_thinning_keeps_the_marked_snapshots(data: st.DataObject, count: int, size: int) -> None:
    """Breaks if medium, the expert or the end of training can fall out of a thinned ladder, or too much is kept."""
    medium = data.draw(st.integers(0, count - 1))
    expert = data.draw(st.integers(medium, count - 1)) if medium < count - 1 else None
    kept = kept_snapshots(count, medium, expert, size)
    assert kept == sorted(set(kept))
    assert {0, medium, count - 1} <= set(kept) <= set(range(count))
    assert expert is None or expert in kept
    up_to_medium = [i for i in kept if i <= medium]
    after = [i for i in kept if i > medium and i != expert]
    assert len(up_to_medium) == min(size, medium + 1)
    assert len(after) <= size - 1
    for begin, end in ((0, medium), (medium, count - 1)):  # evenly spread, up to rounding
        gaps = np.diff([i for i in kept if begin <= i <= end])
        assert all(gaps <= np.ceil((end - begin) / (size - 1)) + 1)


def ladder_with(scores: list[float], out: Path) -> BehaviourTraining:
    """A finished training whose snapshots have these scores; snapshot i consists of i's only."""
    training = BehaviourTraining(replace(CONFIG, medium_score=40.0, ladder_size=2, out=out))
    for i, score in enumerate(scores):
        params = torch.full_like(training.agent.actor_params[0], i)
        training.ladder.append(
            {"env_steps": 40 * (i + 1), "return": score, "score": score, "alpha": 1.0, "params": params}
        )
    return training


def test_exported_expert_is_the_best_snapshot(tmp_path: Path) -> None:
    export(ladder_with([0, 10, 45, 30, 60, 99, 80, 99, 70], tmp_path))
    behaviours = load_behaviours("pendulum", tmp_path)
    # two snapshots up to medium, two from there to the end, and the expert, which thinning alone would drop
    assert behaviours.params[:, 0].tolist() == [0, 2, 5, 8]
    assert behaviours.scores.tolist() == [0, 45, 99, 70]
    assert (behaviours.medium, behaviours.expert) == (1, 2)
    assert behaviours.provenance["expert"] == 2
    assert len(behaviours.provenance["curve"]) == 9


def test_export_of_a_training_that_stopped_at_medium(tmp_path: Path) -> None:
    """The best snapshot is then medium itself, which is no expert."""
    export(ladder_with([0, 10, 45], tmp_path))
    behaviours = load_behaviours("pendulum", tmp_path)
    assert behaviours.params[:, 0].tolist() == [0, 2]
    assert (behaviours.medium, behaviours.expert) == (1, None)
    assert "expert" not in behaviours.provenance


def arguments(folder: Path, *more: str) -> list[str]:
    """CONFIG as words of a command line, without its medium score."""
    words = "pendulum --max-steps 120 --exploration-steps 20 --snapshot-interval 40 --episodes 2 --sac.hidden 8"
    return [*words.split(), f"--checkpoint={folder / 'state'}", f"--out={folder / 'out'}", *more]


def test_command_line_makes_a_ladder_with_all_qualities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, "--medium-score=-200", "--sac.batch-size=8")) == 0
    assert "pendulum 120 steps" in capsys.readouterr().out
    behaviours = load_behaviours("pendulum", tmp_path / "out")
    assert behaviours.env_steps.tolist() == [40, 80, 120]
    assert behaviours.expert == np.argmax(behaviours.scores)
    for quality in ("medium", "expert", "medium-expert", "full-replay"):
        assert len(make_self_dataset("pendulum", quality, 400, behaviours_dir=tmp_path / "out")) == 400


def test_every_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert "python -m moore.run.behaviours halfcheetah --medium-score 41" in text
    for field in fields(BehaviourConfig):
        if field.name == "env":
            assert "one of moore.envs.spec.ENVIRONMENTS" in text
        elif field.name != "sac":
            option = f"--{field.name.replace('_', '-')}"
            assert re.search(rf"{option} \S+ [^()]{{10,}}.*?\((default|required)", text), option
    assert "--sac.hidden" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-steps=-1"], "--max-steps is -1; accepted: 0 to 1000000"),
        (["--snapshot-interval=0"], "--snapshot-interval is 0; accepted: 1 or more"),
        (["--ladder-size=1"], "--ladder-size is 1; accepted: 2 or more"),
        (["--seed=-1"], "--seed is -1; accepted: 0 or more"),
        (["--physics=d4rl"], "pendulum has no physics 'd4rl'"),
    ],
)
def test_bad_settings(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, "--medium-score=1", *words)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_no_training_beyond_the_replay_buffer() -> None:
    check_config(replace(CONFIG, max_steps=1_000_000))
    with pytest.raises(UserError, match="--max-steps is 1000001; accepted: 0 to 1000000"):
        check_config(replace(CONFIG, max_steps=1_000_001))


def test_unknown_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hoper", "--medium-score=1", f"--checkpoint={tmp_path}"]) == 2
    assert "did you mean 'hopper'" in capsys.readouterr().err


def test_a_checkpoint_keeps_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a ladder is continued with other settings than it was begun with, and its provenance names the last."""
    words = ["pendulum", "--medium-score", "-200", "--exploration-steps", "20", "--snapshot-interval", "40"]
    words += ["--episodes", "2", "--sac.hidden", "8", "--sac.batch-size", "8"]
    places = ["--checkpoint", str(tmp_path / "state"), "--out", str(tmp_path / "out")]
    assert main([*words, *places]) == 0
    capsys.readouterr()
    changed = [*words[:-1], "4"]
    assert main([*changed, *places, "--max-steps", "80"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "state") in line
    assert "'batch_size': 8" in line
    assert load_behaviours("pendulum", tmp_path / "out").env_steps.tolist() == [40]
    assert main([*words, *places, "--max-steps", "80"]) == 0
    made = load_behaviours("pendulum", tmp_path / "out")
    assert made.env_steps.tolist() == [40, 80]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", made.provenance["git_commit"])


def test_command_writes_switches_as_the_command_line_takes_them() -> None:
    """Breaks if the command of a ladder with LayerNorm is refused when it is repeated."""
    text = command(replace(CONFIG, sac=SACConfig(hidden=(8,), batch_size=8, critic_layer_norm=True)))
    assert text.endswith("--sac.critic-layer-norm")
