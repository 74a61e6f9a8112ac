"""MuJoCo models of the tasks: as Gymnasium compiles them, or as MuJoCo 2.1.0 did for D4RL's gym *-v2 tasks.

The D4RL datasets were made with an old MuJoCo. The same XML moves differently today, for three reasons:

- MuJoCo 2.1.2 ("Computed capsule inertias are now exact"): before it, a capsule with radius r and half length h weighed
  and turned like a cylinder of length 2h + r. `legacy_masses` writes that back in closed form.
- MuJoCo 4 adds the contact margins of two geoms, old versions took the larger one. Only hopper.xml has margins, 0.001
  on every geom, so a floor margin of zero gives the old contact margin.
- MuJoCo 4's contact solver stops earlier in a few states (2 of 600 recorded HalfCheetah steps, at most 3e-7 apart). A
  tighter tolerance lets it converge as far, at no measurable cost.
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import gymnasium
import mujoco
import numpy as np

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
LEGACY_SOLVER_TOLERANCE = 1e-12  # the default is 1e-8
CAPSULE_DENSITY = 1000.0  # kg/m³, MuJoCo's default, which all three locomotion models use


def build_model(xml_name: str, legacy: bool) -> mujoco.MjModel:
    """Compile an XML file of Gymnasium's assets; `legacy` gives it the dynamics of MuJoCo 2.1.0."""
    root = ElementTree.parse(ASSETS / xml_name).getroot()
    # MuJoCo 4 warns about `settotalmass` on the terminal and in a log file in the working directory at every load, and
    # means to drop it. Scaling the compiled model instead, as advised there, gives the same model to the last bit.
    compiler = root.find("compiler")
    total_mass = None if compiler is None else compiler.attrib.pop("settotalmass", None)
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
    if legacy:
        legacy_masses(model)
        if np.any(model.geom_margin):
            model.geom_margin[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE] = 0.0
        model.opt.tolerance = LEGACY_SOLVER_TOLERANCE
    if total_mass is not None:
        mujoco.mj_setTotalmass(model, float(total_mass))
    mujoco.mj_setConst(model, mujoco.MjData(model))
    # mj_setConst leaves the statistics as they were; these two depend on the masses, the first scales solver tolerances
    model.stat.meaninertia = model.dof_M0.mean()
    model.stat.meanmass = model.body_mass[1:].mean()
    return model


def skip_what_cannot_happen(model: mujoco.MjModel, collides: bool) -> None:
    """Turn off (in place) what only costs time: a fifth of a step of the double pendulum, a twentieth of any."""
    if not collides:  # the search for contacts
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    if model.ntree == 1:  # the search for islands, groups of kinematic trees that constraints join
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND


def legacy_masses(model: mujoco.MjModel) -> None:
    """Give every moving body the mass, centre and inertia that MuJoCo 2.1.0 derived from its capsules (in place)."""
    for body in range(1, model.nbody):
        geoms = np.flatnonzero(model.geom_bodyid == body)
        if np.any(model.geom_type[geoms] != mujoco.mjtGeom.mjGEOM_CAPSULE):
            raise ValueError(f"legacy masses are defined for capsules only; body {body} has another geom")
        radius, half_length = model.geom_size[geoms, 0], model.geom_size[geoms, 1]
        length = 2.0 * half_length + radius
        mass = CAPSULE_DENSITY * np.pi * radius**2 * length
        across = mass * (3.0 * radius**2 + length**2) / 12.0
        along = mass * radius**2 / 2.0
        principal = np.stack([across, across, along], axis=-1)  # [geoms, 3], in each capsule's own frame

        model.body_mass[body] = mass.sum()
        if len(geoms) == 1:
            model.body_inertia[body] = principal[0]
            model.body_ipos[body] = model.geom_pos[geoms[0]]
            model.body_iquat[body] = model.geom_quat[geoms[0]]
        else:
            centre = mass @ model.geom_pos[geoms] / mass.sum()
            inertia = np.zeros((3, 3))
            for geom, geom_mass, geom_principal in zip(geoms, mass, principal, strict=True):
                rotation = np.zeros(9)
                mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
                axes = rotation.reshape(3, 3)
                offset = model.geom_pos[geom] - centre
                inertia += axes @ np.diag(geom_principal) @ axes.T
                inertia += geom_mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))  # parallel axes
            eigenvalues, eigenvectors, orientation = np.zeros(3), np.zeros(9), np.zeros(4)
            mujoco.mju_eig3(eigenvalues, eigenvectors, orientation, inertia.ravel())
            model.body_inertia[body] = eigenvalues
            model.body_ipos[body] = centre
            model.body_iquat[body] = orientation


def disable_log_file() -> None:
    """Keep MuJoCo, in this whole process, from writing MUJOCO_LOG.TXT; an unstable simulation still warns on stderr."""
    config = mujoco.MjLogConfig.get()
    config.logto_file = False
    config.set()
