"""What VectorEnv promises on top of the dynamics: independence, subsets, time limit, quiet loading."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from moore.base.errors import UserError
from moore.envs.spec import ENVIRONMENTS
from moore.envs.vector_env import VectorEnv, make_env

ALL_PHYSICS = [(name, physics) for name, spec in ENVIRONMENTS.items() for physics in spec.physics]
all_physics = pytest.mark.parametrize(("name", "physics"), ALL_PHYSICS)
Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def actions(env: VectorEnv, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, size=(env.num_envs, env.spec.action_dim))


def step_and_reset(env: VectorEnv, action: np.ndarray) -> Step:
    """A step, then a reset of the episodes that ended; obs is the one after the reset."""
    obs, reward, terminated, truncated = env.step(action)
    over = np.flatnonzero(terminated | truncated)
    if over.size:
        obs[over] = env.reset(over)
    return obs, reward, terminated, truncated


def with_elapsed(env: VectorEnv, elapsed: int) -> None:
    env.load_state_dict({**env.state_dict(), "elapsed": torch.full((env.num_envs,), elapsed)})


@all_physics
def test_together_equals_alone(name: str, physics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [5, 6, 7]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    together = make_env(name, seeds, physics)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = [make_env(name, [seed], physics) for seed in seeds]
    np.testing.assert_array_equal(together.reset(), np.concatenate([env.reset() for env in alone]))
    for t in range(250):
        action = actions(together, t)
        results = [step_and_reset(env, action[i : i + 1]) for i, env in enumerate(alone)]
        for joint, single in zip(step_and_reset(together, action), zip(*results, strict=True), strict=True):
            np.testing.assert_array_equal(joint, np.concatenate(single))


@all_physics
def test_a_subset_leaves_the_others_untouched(name: str, physics: str) -> None:
    env = make_env(name, range(4), physics)
    env.reset()
    env.step(actions(env))
    before = env.state_dict()
    ids, others = np.array([1, 3]), np.array([0, 2])
    obs, reward, terminated, truncated = env.step(actions(env)[ids], ids)
    assert obs.shape == (2, env.spec.obs_dim)
    assert reward.shape == terminated.shape == truncated.shape == (2,)
    assert terminated.dtype == truncated.dtype == bool
    env.reset(ids)
    env.set_state(env.qpos[ids], env.qvel[ids], ids)
    after = env.state_dict()
    for key in ("simulator", "elapsed"):
        assert torch.equal(before[key][others], after[key][others])
        assert not torch.equal(before[key][ids], after[key][ids])
    assert [before["rngs"][i] == after["rngs"][i] for i in range(4)] == [True, False, True, False]


@all_physics
def test_state_dict_qpos_and_qvel_are_copies(name: str, physics: str) -> None:
    env = make_env(name, [0], physics)
    env.reset()
    state = env.state_dict()
    saved = {key: value.clone() for key, value in state.items() if isinstance(value, torch.Tensor)}
    env.qpos[...] = env.qvel[...] = 7.0
    assert not np.any(env.qpos == 7.0)
    assert not np.any(env.qvel == 7.0)
    env.step(actions(env))
    for key, value in saved.items():
        assert torch.equal(state[key], value)


def test_a_state_of_another_shape_is_refused() -> None:
    for name, others in (("hopper", 3), ("walker2d", 2), ("pendulum", 2)):
        with pytest.raises(ValueError):  # noqa: PT011
            make_env(name, range(others), "gymnasium").load_state_dict(
                make_env("hopper", [0, 1], "gymnasium").state_dict()
            )


@all_physics
def test_the_time_limit_counts_per_simulation(name: str, physics: str) -> None:
    env = make_env(name, [0, 1], physics)
    env.reset()
    with_elapsed(env, env.spec.max_episode_steps - 2)
    env.reset(np.array([1]))
    still = np.zeros((2, env.spec.action_dim))
    assert env.step(still)[3].tolist() == [False, False]
    assert env.step(still)[3].tolist() == [True, False]
    env.set_state(env.qpos[:1], env.qvel[:1], np.array([0]))  # a new episode
    assert env.step(still)[3].tolist() == [False, False]


@pytest.mark.parametrize("physics", ["gymnasium", "d4rl"])
def test_a_fall_on_the_last_step_is_a_termination(physics: str) -> None:
    env = make_env("hopper", [0], physics)
    env.set_state(np.zeros_like(env.qpos), np.zeros_like(env.qvel))  # the torso on the floor
    with_elapsed(env, env.spec.max_episode_steps - 1)
    _, _, terminated, truncated = env.step(np.zeros((1, 3)))
    assert terminated.tolist() == [True]
    assert truncated.tolist() == [False]


@all_physics
def test_set_state_round_trip_and_forgetting(name: str, physics: str) -> None:
    """The state is what was written, and nothing of the simulation's past changes what follows."""
    env, fresh = make_env(name, [0], physics), make_env(name, [1], physics)
    env.reset()
    for t in range(20):
        env.step(actions(env, t))
    qpos, qvel = env.qpos, env.qvel
    obs = env.set_state(qpos, qvel)
    np.testing.assert_array_equal(env.qpos, qpos)
    np.testing.assert_array_equal(env.qvel, qvel)
    np.testing.assert_array_equal(obs, fresh.set_state(qpos, qvel))
    np.testing.assert_array_equal(env.step(actions(env))[0], fresh.step(actions(env))[0])


def test_set_state_observes_the_forces_of_the_new_state() -> None:
    env = make_env("inverted_double_pendulum", [0], "gymnasium")
    qpos = np.array([[1.02, 0.0, 0.0]])  # the cart 2 cm beyond the end of the rail, which pushes it back
    assert env.set_state(qpos, np.zeros((1, 3)))[0, -1] == -10.0  # observed clipped
    assert env.set_state(0.0 * qpos, np.zeros((1, 3)))[0, -1] == 0.0


def test_a_bad_action_shape_is_refused() -> None:
    env = make_env("hopper", [0, 1], "gymnasium")
    with pytest.raises(ValueError, match=r"action is \(1, 3\), expected \(2, 3\)"):
        env.step(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("name", "physics", "message"),
    [
        ("hoper", "d4rl", "unknown environment 'hoper'; did you mean 'hopper'? accepted: pendulum, .*, walker2d"),
        ("ant", "d4rl", "unknown environment 'ant'; accepted: "),
        ("hopper", "mujoco", "hopper has no physics 'mujoco'; accepted: gymnasium, d4rl"),
        ("pendulum", "d4rl", "pendulum has no physics 'd4rl'; accepted: gymnasium"),
    ],
)
def test_bad_names_say_what_is_accepted(name: str, physics: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")) as error:
        make_env(name, [0], physics)
    assert "\n" not in str(error.value)


def test_loading_leaves_terminal_and_folder_clean(tmp_path: Path) -> None:
    """MuJoCo warns about half_cheetah.xml as Gymnasium ships it, and logs unstable simulations to a file."""
    program = (
        "import numpy as np; from moore.envs.vector_env import make_env\n"
        "for physics in ('gymnasium', 'd4rl'):\n"
        "    env = make_env('halfcheetah', [0], physics); env.reset(); env.step(np.zeros((1, 6)))\n"
        "print('loaded', flush=True)\n"
        "env.step(np.full((1, 6), np.nan))\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{program}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "loaded\n"
    assert "settotalmass" not in result.stderr
    assert [line[:12] for line in result.stderr.splitlines() if line] == ["WARNING: Nan"]  # only the one provoked here
    assert list(tmp_path.iterdir()) == []
