"""Training of behaviour ladders: interrupted equals uninterrupted, what is kept of them, and the command line."""

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.agents.sac import SACConfig
from moore.base.errors import UserError
from moore.base.lock import locked
from moore.data.behaviours import kept_snapshots, load_behaviours
from moore.data.make import find_recipe
from moore.networks.calls import plain
from moore.run.behaviours import BehaviourConfig, BehaviourTraining, main, train
from moore.run.stop import Stopped
from tests.support.resume_units import StopAt

CONFIG = BehaviourConfig(
    "pendulum",
    medium_score=-200.0,  # any policy reaches it: medium is the first snapshot
    max_steps=120,
    exploration_steps=20,
    snapshot_interval=40,
    episodes=2,
    sac=SACConfig(hidden=(8,), batch_size=8, critic_layer_norm=True),
)


def config(folder: Path, **changes: Any) -> BehaviourConfig:
    return replace(CONFIG, checkpoint=folder / "state", out=folder / "out", **changes)


def words(folder: Path, *more: str) -> list[str]:
    """`config` as words of a command line, and more of them."""
    own = "pendulum --medium-score -200.0 --max-steps 120 --exploration-steps 20 --snapshot-interval 40 --episodes 2"
    sac = "--sac.hidden 8 --sac.batch-size 8 --sac.critic-layer-norm"
    return [*own.split(), *sac.split(), f"--checkpoint={folder / 'state'}", f"--out={folder / 'out'}", *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ladder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(words(folder)) == 0
    return folder / "out"


def test_updates_are_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a ladder depends on the machine's compiler."""
    monkeypatch.setenv("MOORE_COMPILE", "1")
    assert BehaviourTraining(config(tmp_path)).cohort.policy_call is plain


def test_a_ladder_with_all_qualities(whole: Path) -> None:
    behaviours = load_behaviours("pendulum", whole)
    assert behaviours.env_steps.tolist() == [40, 80, 120]
    assert behaviours.medium == 0
    assert behaviours.expert == np.argmax(behaviours.scores)
    for quality in ("medium", "expert", "medium-expert", "full-replay"):
        assert len(find_recipe("pendulum", quality, 400, behaviours_dir=whole).make()) == 400


def test_training_in_pieces(tmp_path: Path, whole: Path) -> None:
    """Breaks if a checkpoint lacks anything that training depends on, or a ladder cannot be gone on with."""
    for point in (7, 13, 19):
        with pytest.raises(Stopped):
            train(config(tmp_path), StopAt(point))
    train(config(tmp_path, max_steps=40))
    torch.rand(1)  # a global draw in between must not matter
    for point in (1, 39):
        with pytest.raises(Stopped):
            train(config(tmp_path), StopAt(point))
    train(config(tmp_path)).export("")
    first, second = load_behaviours("pendulum", whole), load_behaviours("pendulum", tmp_path / "out")
    np.testing.assert_array_equal(first.params, second.params)
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.provenance["curve"] == second.provenance["curve"]
    assert (first.medium, first.expert) == (second.medium, second.expert)


def test_two_trainings_of_one_ladder(tmp_path: Path) -> None:
    """Breaks if a second process writes into the first one's checkpoints."""
    in_use = pytest.raises(UserError, match=rf"pendulum-seed0 is in use by process {os.getpid()} on ")
    with locked(tmp_path / "state" / "pendulum-seed0.lock", "the ladder"), in_use:
        train(config(tmp_path))
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["pendulum-seed0.lock"]


def test_a_checkpoint_keeps_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a ladder is continued with other settings than it was begun with, and its provenance names the last."""
    train(config(tmp_path, max_steps=0))
    assert main(words(tmp_path, "--sac.batch-size=4")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "state") in line
    assert "sac.batch_size is 8 there and 4 here" in line
    assert not (tmp_path / "out").exists()
    assert main(words(tmp_path)) == 0


def test_the_command_repeats_the_training(whole: Path) -> None:
    """Breaks if a provenance file's command would train something else."""
    provenance = load_behaviours("pendulum", whole).provenance
    asked = tyro.cli(BehaviourConfig, args=shlex.split(provenance["command"])[3:])
    assert replace(asked, checkpoint=CONFIG.checkpoint, out=CONFIG.out) == CONFIG


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


@pytest.mark.parametrize(
    ("scores", "kept", "medium", "expert"),
    [
        # two snapshots up to medium, two from there to the end, and the expert, which thinning alone would drop
        ([0, 10, 45, 30, 60, 99, 80, 99, 70], [0, 2, 5, 8], 1, 2),
        # the training stopped at medium: the best snapshot is then medium itself, which is no expert
        ([0, 10, 45], [0, 2], 1, None),
    ],
)
def test_what_is_exported(scores: list[int], kept: list[int], medium: int, expert: int | None, tmp_path: Path) -> None:
    training = BehaviourTraining(config(tmp_path, medium_score=40.0, ladder_size=2))
    like = training.cohort.agent.state()["actor_params"][0]
    training.ladder = {
        "env_steps": [40 * (i + 1) for i in range(len(scores))],
        "return": [float(score) for score in scores],
        "score": [float(score) for score in scores],
        "params": [torch.full_like(like, i) for i in range(len(scores))],  # snapshot i consists of i's only
    }
    training.export("")
    behaviours = load_behaviours("pendulum", tmp_path / "out")
    assert behaviours.params[:, 0].tolist() == kept
    assert behaviours.scores.tolist() == [scores[i] for i in kept]
    assert (behaviours.medium, behaviours.expert) == (medium, expert)
    assert behaviours.provenance.get("expert") == expert
    assert len(behaviours.provenance["curve"]) == len(scores)


NUMBERS = ("max_steps: -1", "max_steps: 1000001", "snapshot_interval: 0", "ladder_size: 1", "seed: -1")


@pytest.mark.parametrize("message", [*NUMBERS, "pendulum has no physics 'd4rl'", "did you mean 'hopper'"])
def test_bad_settings(message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    option = f"--{message.replace('_', '-').replace(': ', '=')}" if message in NUMBERS else "--physics=d4rl"
    given = words(tmp_path, option)
    assert main(["hoper", *given[1:-1]] if "hopper" in message else given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
