"""`moore data check`: the physics that recorded a file is found, every broken invariant is named, sound files pass."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from moore.cli.main import main
from moore.data import check
from moore.data.check import check_dataset, replay_error
from moore.data.collect import collect
from moore.data.hdf5 import Dataset, write_dataset
from moore.envs.spec import ENVIRONMENTS
from moore.envs.vector_env import make_env
from tests.envs.test_vector import ALL_PHYSICS
from tests.support.datasets import recorded

GOLDEN = Path(__file__).parents[1] / "golden" / "mujoco210"


@pytest.mark.parametrize(("env", "physics"), ALL_PHYSICS)
@pytest.mark.parametrize("labelled", [True, False])
def test_a_sound_file_agrees_with_the_physics_that_recorded_it_and_no_other(
    env: str, physics: str, labelled: bool
) -> None:
    dataset = recorded(env, physics)
    found = check_dataset(dataset if labelled else replace(dataset, metadata={}))
    assert found.agreeing == (physics,)
    assert found.faults == ()
    assert found.recorded == (physics if labelled else "unknown")
    assert [error.physics for error in found.replay] == list(ENVIRONMENTS[env].physics)
    assert all(len(broken) == 0 for broken in found.invariants.values() if broken is not None)


def v2_step(env: str, golden: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """obs, next_obs and reward of gym's *-v2 tasks, written out: what D4RL stored of such a step."""
    clip = np.inf if env == "halfcheetah" else 10.0
    obs, next_obs = (
        np.concatenate([golden[f"{prefix}qpos"][:, 1:], np.clip(golden[f"{prefix}qvel"], -clip, clip)], axis=1)
        for prefix in ("", "next_")
    )
    seconds = {"hopper": 4 * 0.002, "halfcheetah": 5 * 0.01, "walker2d": 4 * 0.002}[env]
    cost = {"hopper": 1e-3, "halfcheetah": 0.1, "walker2d": 1e-3}[env]
    forward = (golden["next_qpos"][:, 0] - golden["qpos"][:, 0]) / seconds
    alive = 0.0 if env == "halfcheetah" else 1.0
    return obs, next_obs, forward + alive - cost * (golden["action"] ** 2).sum(axis=1)


@pytest.mark.parametrize("env", ["hopper", "halfcheetah", "walker2d"])
@pytest.mark.parametrize("states", ["float64", "float32", "clipped"])
def test_steps_of_mujoco_210_agree_with_d4rl(env: str, states: str) -> None:
    """Steps of the original library; as float32, and with velocities cut to the observation's, as in repaired files."""
    golden = dict(np.load(GOLDEN / f"{env}.npz"))
    obs, next_obs, reward = v2_step(env, golden)
    qpos, qvel = golden["qpos"], golden["qvel"]
    if states == "float32":
        qpos, qvel = qpos.astype(np.float32).astype(np.float64), qvel.astype(np.float32).astype(np.float64)
    elif states == "clipped" and env != "halfcheetah":
        qvel = np.clip(qvel, -10.0, 10.0)
    flags = np.ones(len(qpos), bool)  # every step is from a state of its own
    obs, next_obs, action, reward = (x.astype(np.float32) for x in (obs, next_obs, golden["action"], reward))
    found = check_dataset(Dataset(env, obs, action, reward, ~flags, flags, next_obs, qpos, qvel))
    assert found.agreeing == ("d4rl",)
    assert found.faults == ()
    errors = {error.physics: error for error in found.replay}
    assert errors["d4rl"].reward_max < 1e-3
    assert errors["gymnasium"].share < 0.1


def test_replay_equals_a_loop_over_gymnasium() -> None:
    """Every row by hand: state set, action taken, largest component and reward compared; then the quantiles."""
    dataset = recorded("hopper", "gymnasium", 60)
    qpos, qvel = dataset.qpos, dataset.qvel
    noise = np.random.default_rng(0).normal(size=(2, 60)).astype(np.float32)
    next_obs, rewards = dataset.next_obs + noise[0][:, None], dataset.reward + noise[1]
    single: Any = gymnasium.make("Hopper-v5").unwrapped
    errors, reward_errors = [], []
    for row in range(60):
        single.reset(seed=0)
        single.set_state(qpos[row], qvel[row])
        obs, reward, *_ = single.step(dataset.action[row])
        errors.append(max(abs(float(a) - float(b)) for a, b in zip(obs, next_obs[row], strict=True)))
        reward_errors.append(abs(float(reward) - float(rewards[row])))
    found = replay_error(replace(dataset, next_obs=next_obs, reward=rewards), "gymnasium")
    expected = [60, *(np.quantile(x, q) for x in (errors, reward_errors) for q in (0.5, 0.99, 1.0))]
    measured = [found.rows, found.median, found.p99, found.max]
    measured += [found.reward_median, found.reward_p99, found.reward_max]
    np.testing.assert_allclose(measured, expected, rtol=1e-6)
    assert found.share == np.mean(np.array(errors) < 1e-3)


def test_rows_are_spread_and_replayed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = recorded("walker2d", "d4rl")
    whole = replay_error(dataset, "gymnasium", 50)
    monkeypatch.setattr(check, "SIMULATIONS", 7)
    assert replay_error(dataset, "gymnasium", 50) == whole
    assert whole.rows == 50
    # rounding may make or lose contacts in up to a tenth of the rows
    for wrong, agrees in ((300, False), (61, False), (60, True)):
        late = np.arange(600)[:, None] >= 600 - wrong
        error = replay_error(replace(dataset, next_obs=dataset.next_obs + 1.0 * late), "d4rl", 600)
        assert (error.share, error.agrees) == (1 - wrong / 600, agrees)


def test_the_force_at_the_end_of_the_rail_is_no_fault() -> None:
    """The double pendulum observes a force that the last step left behind; the state alone has another one."""
    env = make_env("inverted_double_pendulum", [0], "gymnasium")

    def at_the_rails_end(ids: np.ndarray) -> np.ndarray:
        return env.set_state(np.tile([0.98, 0.0, 0.0], (len(ids), 1)), np.tile([1.0, 0.0, 0.0], (len(ids), 1)), ids)

    push = lambda obs: np.ones((len(obs), 1), np.float32)  # noqa: E731
    rows: dict[str, Any] = collect(env, push, 40, start=at_the_rails_end)
    assert (rows["obs"][:, 8] != 0).sum() > 5
    found = check_dataset(Dataset(env="inverted_double_pendulum", **rows))
    assert found.agreeing == ("gymnasium",)
    assert found.faults == ()


def without(dataset: Dataset, *names: str) -> Dataset:
    return replace(dataset, **dict.fromkeys(names))


def test_what_a_file_does_not_store_is_no_fault() -> None:
    dataset = recorded("hopper", "d4rl")
    bare = check_dataset(without(dataset, "qpos", "qvel", "next_obs"), "gymnasium")
    assert (bare.replay, bare.faults) == ((), ())
    assert bare.invariants["observations are those of the stored states"] is None
    no_next = check_dataset(without(dataset, "next_obs"))
    ends = int((dataset.terminated | dataset.truncated).sum())
    assert [error.rows for error in no_next.replay] == [600 - ends - (not dataset.terminated[-1])] * 2
    assert (no_next.agreeing, no_next.faults) == (("d4rl",), ())
    first: dict[str, Any] = {key: v[:1] if isinstance(v, np.ndarray) else v for key, v in vars(dataset).items()}
    single = Dataset(**first)
    assert check_dataset(single).faults == ()
    assert check_dataset(without(single, "next_obs")).replay == ()


def hopper() -> Dataset:
    return recorded("hopper", "d4rl")


def pendulum() -> Dataset:
    """Three episodes of which only the observations were kept."""
    return without(recorded("pendulum", "gymnasium"), "next_obs", "qpos", "qvel")


FAULTS: dict[str, tuple[Callable[[], Dataset], list[str]]] = {
    "another physics recorded": (
        lambda: replace(hopper(), metadata={"physics": "gymnasium"}),
        ["do not agree with physics gymnasium, which the file records"],
    ),
    "another robot of the same size": (
        lambda: replace(recorded("walker2d", "d4rl"), metadata={}, env="halfcheetah"),
        ["terminated where", "stored states", "agree with no physics of halfcheetah"],
    ),
    "scaled rewards": (
        lambda: replace(hopper(), reward=hopper().reward * 2),
        ["the rewards are not those of hopper with physics d4rl"],
    ),
    "a lost end": (
        lambda: replace(hopper(), terminated=np.zeros(600, bool)),
        ["next row's: not so in {falls} rows", "terminated where"],
    ),
    "time limits recorded as ends": (
        lambda: replace(pendulum(), terminated=pendulum().truncated, truncated=np.zeros(600, bool)),
        ["only there: not so in 3 rows, first in row 199"],
    ),
    "both ends": (
        lambda: replace(hopper(), truncated=hopper().terminated),
        ["not both terminated and truncated: not so in {falls} rows"],
    ),
    "no time limit": (
        lambda: replace(pendulum(), truncated=np.zeros(600, bool)),
        ["no episode is longer than 200 steps: not so in 1 rows, first in row 0"],
    ),
    "states of the next row": (
        lambda: replace(hopper(), qpos=np.roll(hopper().qpos, 1, axis=0), next_obs=None),
        ["stored states: not so in 600 rows", "do not agree with physics d4rl"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_every_fault_is_named_and_no_other(case: str) -> None:
    spoil, expected = FAULTS[case]
    found = check_dataset(spoil())
    assert len(found.faults) == len(expected), found.faults
    for fault, fragment in zip(found.faults, expected, strict=True):
        assert fragment.format(falls=hopper().terminated.sum()) in fault


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hopper.hdf5"
    cases: list[tuple[dict[str, Any], list[str], int, str]] = [
        ({}, ["--rows", "100"], 0, "physics gymnasium, 100 rows"),
        ({}, [], 0, "agrees with   d4rl ("),
        ({"next_obs": None}, [], 0, "keep_timeouts: false"),  # what a training will ask for is said here already
        ({}, ["--physics", "gymnasium"], 1, "agrees with   none"),
        ({"truncated": hopper().terminated}, [], 1, "fault         not both"),
        ({}, ["--physics", "d4r"], 2, ""),
        ({}, ["--rows", "0"], 2, ""),
    ]
    for changes, options, code, said in cases:
        write_dataset(path, replace(hopper(), **changes))
        assert main(["data", "check", f"local:{path}", *options]) == code
        out, err = capsys.readouterr()
        assert said in out
        assert ("keep_timeouts" in out) == ("next_obs" in changes)
        assert err.count("\n") == (code == 2)
