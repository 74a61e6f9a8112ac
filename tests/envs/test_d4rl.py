"""`physics="d4rl"` against MuJoCo 2.1.0 itself (tests/golden/mujoco210) and against the rules of the *-v2 tasks."""

import json
from pathlib import Path

import numpy as np
import pytest

from moore.envs.physics import build_model
from moore.envs.vector_env import make_env

GOLDEN = Path(__file__).parents[1] / "golden" / "mujoco210"
ROBOTS = ["hopper", "halfcheetah", "walker2d"]


@pytest.mark.parametrize("name", ROBOTS)
def test_one_step_equals_mujoco_210(name: str) -> None:
    golden = np.load(GOLDEN / f"{name}.npz")
    env = make_env(name, range(len(golden["qpos"])), "d4rl")
    env.set_state(golden["qpos"], golden["qvel"])
    env.step(golden["action"])
    np.testing.assert_allclose(env.qpos, golden["next_qpos"], rtol=0, atol=1e-11)
    np.testing.assert_allclose(env.qvel, golden["next_qvel"], rtol=0, atol=1e-11)


@pytest.mark.parametrize("model_name", ["hopper", "half_cheetah", "walker2d"])
def test_compiled_model_equals_mujoco_210(model_name: str) -> None:
    golden = json.loads((GOLDEN / f"{model_name}.210.json").read_text())
    model = build_model(f"{model_name}.xml", legacy=True)
    for field, expected in golden.items():
        part = model.stat if field == "meaninertia" else model.opt if field == "gravity" else model
        value = np.ravel(getattr(part, field))
        if field == "geom_margin" and model_name == "hopper":
            # MuJoCo 4 adds the two margins of a contact: that of the floor, geom 0, must vanish
            assert value[0] == 0.0
            value[0] = value[1]
        np.testing.assert_allclose(value, np.ravel(expected), rtol=1e-12, atol=1e-12, err_msg=field)
    assert len(golden) > 20


def test_legacy_masses_refuse_other_geoms() -> None:
    with pytest.raises(ValueError, match="capsules only"):
        build_model("ant.xml", legacy=True)


@pytest.mark.parametrize(("name", "height"), [("hopper", 0.5), ("walker2d", 0.6)])
@pytest.mark.parametrize(("physics", "alive_bonus"), [("gymnasium", 0.0), ("d4rl", 1.0)])
def test_alive_bonus_on_the_terminal_step(name: str, height: float, physics: str, alive_bonus: float) -> None:
    env = make_env(name, [0], physics)
    qpos, qvel = np.zeros_like(env.qpos), np.zeros_like(env.qvel)
    qpos[0, 1] = height
    env.set_state(qpos, qvel)
    _, reward, terminated, _ = env.step(np.zeros((1, env.spec.action_dim)))
    seconds = 4 * 0.002
    assert terminated[0]
    assert reward[0] == env.qpos[0, 0] / seconds + alive_bonus


@pytest.mark.parametrize("name", ROBOTS)
def test_resets_are_those_of_gymnasium(name: str) -> None:
    np.testing.assert_array_equal(make_env(name, [4], "d4rl").reset(), make_env(name, [4], "gymnasium").reset())
