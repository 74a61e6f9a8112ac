"""What a simulator turns off changes no bit: contacts where none can be, islands where there is one tree."""

from unittest.mock import patch

import mujoco
import numpy as np
import pytest

from moore.envs.mujoco_sim import MujocoSimulator
from moore.envs.physics import build_model
from moore.envs.spec import ENVIRONMENTS

CONTACT, ISLAND = mujoco.mjtDisableBit.mjDSBL_CONTACT, mujoco.mjtDisableBit.mjDSBL_ISLAND
ALL_PHYSICS = [(name, physics) for name, spec in ENVIRONMENTS.items() if spec.task for physics in spec.physics]
EPISODES, STEPS, SUBSTEPS = 12, 40, 15


def model_of(name: str, physics: str) -> mujoco.MjModel:
    """The model that `MujocoSimulator` steps."""
    with patch("mujoco.batch.Batch") as batch:
        simulator(name, physics)
    return batch.call_args.args[0]


def simulator(name: str, physics: str) -> MujocoSimulator:
    task = ENVIRONMENTS[name].task
    return MujocoSimulator(task(physics), physics == "d4rl", 1)


def trajectory(model: mujoco.MjModel) -> tuple[np.ndarray, int]:
    """States, accelerations and constraint forces after every few steps of random controls, and the most contacts."""
    data, rng, rows, contacts = mujoco.MjData(model), np.random.default_rng(0), [], 0
    for _ in range(EPISODES):
        mujoco.mj_resetData(model, data)
        data.qpos[:] = model.qpos0 + rng.uniform(-0.1, 0.1, model.nq)
        data.qvel[:] = rng.normal(0.0, 1.0, model.nv)
        for _ in range(STEPS):
            data.ctrl[:] = rng.uniform(-1, 1, model.nu)
            mujoco.mj_step(model, data, nstep=SUBSTEPS)
            rows.append(np.concatenate([data.qpos, data.qvel, data.qacc, data.qfrc_constraint, data.qacc_warmstart]))
            contacts = max(contacts, data.ncon)
    return np.array(rows), contacts


@pytest.mark.parametrize(("name", "physics"), ALL_PHYSICS)
def test_trajectories_are_the_same_to_the_last_bit(name: str, physics: str) -> None:
    """Breaks if a step loses contacts, limits or a digit to what is turned off: the robots fall and hit limits."""
    model, plain = model_of(name, physics), model_of(name, physics)
    plain.opt.disableflags = build_model(simulator(name, physics).task.xml, physics == "d4rl").opt.disableflags
    got, contacts = trajectory(model)
    expected, expected_contacts = trajectory(plain)
    assert np.isfinite(expected).all()
    assert np.abs(expected[:, 2 * plain.nv : -plain.nv]).max() > 0  # there are constraints to get wrong
    np.testing.assert_array_equal(got, expected)
    assert contacts == expected_contacts
    assert (contacts > 0) == (name != "inverted_double_pendulum")


@pytest.mark.parametrize(("name", "physics"), ALL_PHYSICS)
def test_what_is_turned_off(name: str, physics: str) -> None:
    """Breaks if a robot loses its contacts, the pendulum pays for none, or a flag of the file is touched."""
    flags = int(ISLAND) | (int(CONTACT) if name == "inverted_double_pendulum" else 0)
    assert model_of(name, physics).opt.disableflags == flags
