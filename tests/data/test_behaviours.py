"""Behaviour policies and what is made of those beyond the medium snapshot: the stitch rule, a training's replay."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moore.base.errors import UserError
from moore.data import make
from moore.data.behaviours import Behaviours, load_behaviours, save_behaviours
from moore.data.collect import actor_network
from moore.data.ids import D4RL_QUALITIES
from moore.data.make import EXPERT_QUALITIES, find_recipe, replay_segments
from moore.envs.spec import ENVIRONMENTS

HIDDEN = (8,)
PUSHES = [-0.9, -0.3, 0.3, 0.9, 0.6]  # action of each snapshot: medium is the second, expert the fourth
ENV_STEPS = [100, 200, 400, 800, 1000]


PROVENANCE: dict[str, Any] = {"command": "x", "config": {}, "git_commit": "x", "packages": {}, "wall_seconds": 0.0}
PROVENANCE |= {"curve": [], "physics": "gymnasium", "medium": 1, "random_steps": 100}


def pushes(**provenance: Any) -> Behaviours:
    """Pendulum policies that always push alike, so that the actions show who acted."""
    network = actor_network(ENVIRONMENTS["pendulum"], HIDDEN)
    params = np.zeros((len(PUSHES), network.num_params), np.float32)
    params[:, -2] = np.arctanh(PUSHES)  # the last bias: mean, log standard deviation
    params[:, -1] = -10.0
    scores = 10.0 * np.arange(len(PUSHES))
    return Behaviours("pendulum", params, HIDDEN, np.array(ENV_STEPS), scores, scores, PROVENANCE | provenance)


def push_ladder(directory: Path, **provenance: Any) -> Behaviours:
    save_behaviours(pushes(**provenance), directory)
    return load_behaviours("pendulum", directory)


def test_behaviours_round_trip(tmp_path: Path) -> None:
    loaded = push_ladder(tmp_path, expert=3)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {"pendulum.npz", "pendulum.json"}
    for name in ("params", "env_steps", "returns", "scores"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(pushes(), name))
    assert (loaded.hidden, loaded.medium, loaded.expert, loaded.physics) == (HIDDEN, 1, 3, "gymnasium")
    save_behaviours(loaded, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert loaded.sha256 == push_ladder(tmp_path).sha256 != replace(loaded, params=loaded.params + 1).sha256
    with pytest.raises(UserError, match=r"no behaviour policies for walker2d.*existing: pendulum"):
        load_behaviours("walker2d", tmp_path)
    archive = tmp_path / "pendulum.npz"
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        load_behaviours("pendulum", tmp_path)


def test_medium_expert_is_stitched_from_both(tmp_path: Path) -> None:
    push_ladder(tmp_path, expert=3)
    dataset = find_recipe("pendulum", "medium-expert", 1001, seed=4, behaviours_dir=tmp_path).make()
    # episodes last 200 steps: of the 500 medium rows, two whole ones count; the expert's 501 follow as they are
    assert len(dataset) == 400 + 501
    np.testing.assert_allclose(dataset.action[:400] / 2, PUSHES[1], atol=1e-3)
    np.testing.assert_allclose(dataset.action[400:] / 2, PUSHES[3], atol=1e-3)
    assert np.flatnonzero(dataset.truncated).tolist() == [199, 399, 599, 799]
    assert np.asarray(dataset.metadata["behaviour_rows"]).tolist() == [400, 501]
    assert dataset.metadata["transitions"] == 1001
    # file 1 of the stitch is the medium set of half the size
    medium = find_recipe("pendulum", "medium", 500, seed=4, behaviours_dir=tmp_path).make()
    for name in ("obs", "action", "reward", "next_obs", "qpos", "qvel"):
        np.testing.assert_array_equal(getattr(dataset, name)[:400], getattr(medium, name)[:400], err_msg=name)


def test_full_replay_goes_to_the_end_of_training(tmp_path: Path) -> None:
    push_ladder(tmp_path, expert=3, random_steps=50)
    segments = [(None, 50), (0, 100), (1, 150), (2, 300), (3, 300), (4, 100)]  # a row for each of 1000 training steps
    assert find_recipe("pendulum", "full-replay", 1000, behaviours_dir=tmp_path).segments == segments
    dataset = find_recipe("pendulum", "full-replay", 1000, behaviours_dir=tmp_path).make()
    assert dataset.action[:50].std() / 2 == pytest.approx(1 / np.sqrt(3), abs=0.15)  # uniform
    begin = 50
    for push, (_, rows) in zip(PUSHES, segments[1:], strict=True):
        np.testing.assert_allclose(dataset.action[begin : begin + rows] / 2, push, atol=1e-3)
        begin += rows
        assert begin == 1000 or dataset.truncated[begin - 1]
    assert dataset.metadata["random_rows"] == 50
    # medium-replay is the same construction over the part of the training up to medium
    medium = find_recipe("pendulum", "medium-replay", 200, behaviours_dir=tmp_path)
    assert medium.segments == [(None, 50), (0, 100), (1, 50)]


@pytest.mark.parametrize(
    ("steps", "explored", "last", "rows"),
    [
        ([100, 200, 400, 800], 0, 3, [(0, 150), (1, 150), (2, 300), (3, 200)]),  # the nearest one's
        ([100, 200, 400, 800], 250, 2, [(None, 500), (1, 100), (2, 200)]),  # of the first 400 steps
        ([100, 200], 900, 1, [(None, 800)]),
    ],
)
def test_who_acts_in_a_replay(steps: list[int], explored: int, last: int, rows: list[tuple[int | None, int]]) -> None:
    ladder = replace(pushes(random_steps=explored), env_steps=np.array(steps))
    assert replay_segments(ladder, last, 800) == rows


@pytest.mark.parametrize("quality", EXPERT_QUALITIES)
def test_ladder_that_ends_at_medium(quality: str, tmp_path: Path) -> None:
    push_ladder(tmp_path)
    with pytest.raises(UserError, match=rf"self:pendulum-{quality}: .*pendulum.json.*medium, medium-replay, low$"):
        find_recipe("pendulum", quality, 1000, 0, "gymnasium", tmp_path)


def test_medium_expert_needs_room_for_an_episode(tmp_path: Path) -> None:
    push_ladder(tmp_path, expert=3)
    with pytest.raises(UserError, match=r"transitions is 399; accepted: 400 or more for self:pendulum-medium-expert"):
        find_recipe("pendulum", "medium-expert", 399, behaviours_dir=tmp_path).make()
    assert len(find_recipe("pendulum", "medium-expert", 400, behaviours_dir=tmp_path).make()) == 400


ORDINARY = {
    "random": {"e3471d6361c03c71"},
    "low": {"6b9958b2af472722"},
    "medium": {"271ee67bcf1c636d"},
    "medium-replay": {"ea2fb62739ff83a9"},
}


def test_an_expert_leaves_the_other_hashes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Literals: files in caches and result rows are named by them. Another expert is another expert set."""
    monkeypatch.setattr(make.mujoco, "__version__", "4.0.0")
    without, third, fourth = (tmp_path / name for name in ("without", "third", "fourth"))
    push_ladder(without)
    push_ladder(third, expert=2)
    push_ladder(fourth, expert=3)

    def hashes(quality: str, *directories: Path) -> set[str]:
        return {find_recipe("pendulum", quality, 1000, 0, "gymnasium", folder).sha256[:16] for folder in directories}

    assert {quality: hashes(quality, without, third, fourth) for quality in ORDINARY} == ORDINARY
    for quality in ("expert", "medium-expert"):
        assert len(hashes(quality, third, fourth)) == 2
    assert len(hashes("full-replay", third, fourth)) == 1  # does not depend on which is the best
    assert len(set.union(*(hashes(quality, third) for quality in D4RL_QUALITIES))) == len(D4RL_QUALITIES)


@pytest.mark.parametrize("env", ["hopper", "halfcheetah", "walker2d"])
def test_shipped_behaviours_have_all_six_qualities(env: str) -> None:
    """Breaks if a shipped ladder cannot make one of D4RL's qualities, or its expert is no better than its medium."""
    for quality in ("random", "medium", "medium-replay", "medium-expert", "expert", "full-replay"):
        assert len(find_recipe(env, quality, 3000, 0, "d4rl").sha256) == 64
    shipped = load_behaviours(env)
    assert shipped.scores[shipped.expert] > shipped.scores[shipped.medium] + 10
