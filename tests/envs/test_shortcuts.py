"""What a simulator turns off changes no bit: contacts where none can be, islands where there is one tree."""

from __future__ import annotations

from unittest.mock import patch

import mujoco
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moore.envs.mujoco_sim import MujocoSimulator
from moore.envs.physics import build_model, can_collide
from moore.envs.spec import ENVIRONMENTS

CONTACT, ISLAND = mujoco.mjtDisableBit.mjDSBL_CONTACT, mujoco.mjtDisableBit.mjDSBL_ISLAND
ALL_PHYSICS = [(name, physics) for name, spec in ENVIRONMENTS.items() if name != "pendulum" for physics in spec.physics]
EPISODES, STEPS, SUBSTEPS = 12, 40, 15


def model_of(name: str, physics: str) -> mujoco.MjModel:
    """The model that `MujocoSimulator` steps."""
    with patch("mujoco.batch.Batch") as batch:
        simulator(name, physics)
    return batch.call_args.args[0]


def simulator(name: str, physics: str) -> MujocoSimulator:
    task = ENVIRONMENTS[name].task
    assert task is not None
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
    """Breaks if a step loses contacts, limits or a digit to what is turned off.

    12 x 600 steps of random controls, in which the robots fall, lie and hit their joints' limits.
    """
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


MASK = st.integers(0, 3)


@st.composite
def models(draw: st.DrawFn) -> str:
    """A tree of bodies, some welded to their parents, with geoms that all overlap; some pairs excluded or named."""
    count = draw(st.integers(1, 4))
    parents = [draw(st.integers(0, body)) for body in range(count)]  # 0 is the world; body b is number b + 1
    geoms = iter(range(100))

    def geom() -> str:
        number, low = next(geoms), draw(st.integers(-3, 3)) / 100
        masks = f'contype="{draw(MASK)}" conaffinity="{draw(MASK)}"'
        return f'<geom name="g{number}" type="sphere" size="1" pos="{low} {number / 100} 0" {masks}/>'

    def body(number: int) -> str:
        joint = '<joint type="hinge"/>' if draw(st.booleans()) else ""
        inside = geom() + (geom() if draw(st.booleans()) else "")
        children = "".join(body(child + 1) for child, parent in enumerate(parents) if parent == number)
        return f'<body name="b{number}">{joint}{inside}{children}</body>'

    world = geom() if draw(st.booleans()) else ""
    world += "".join(body(child + 1) for child, parent in enumerate(parents) if parent == 0)
    numbers = st.integers(1, count)
    excluded = {tuple(sorted(draw(st.tuples(numbers, numbers)))) for _ in range(draw(st.integers(0, 3)))}
    contact = "".join(f'<exclude body1="b{a}" body2="b{b}"/>' for a, b in sorted(excluded) if a != b)
    total = next(geoms)
    if total > 1 and draw(st.integers(0, 5)) == 0:
        contact += '<pair geom1="g0" geom2="g1"/>'
    option = '<option><flag filterparent="disable"/></option>' if draw(st.booleans()) else ""
    return f"<mujoco>{option}<worldbody>{world}</worldbody><contact>{contact}</contact></mujoco>"


JOINED = '<joint type="hinge"/><geom type="sphere" size="1"/>'
# the parent of the third body is welded to the first, which so counts as its parent
THROUGH_A_WELD = f"""<mujoco><worldbody><body>{JOINED}<body><geom type="sphere" size="1" contype="0" conaffinity="0"/>
    <body>{JOINED}</body></body></body></worldbody></mujoco>"""


@settings(deadline=None, max_examples=300)
@given(models())
@example(THROUGH_A_WELD)
def test_can_collide_is_what_mujoco_finds(xml: str) -> None:
    """Breaks if a rule of MuJoCo's choice of pairs is missing, or one too many is there; all allowed pairs touch."""
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert can_collide(model) == (data.ncon > 0)
