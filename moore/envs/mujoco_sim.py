"""Many simulations of one MuJoCo task, advanced together by `mujoco.batch`."""

import mujoco
import mujoco.batch
import numpy as np
import torch

from moore.envs.physics import build_model, disable_log_file, skip_what_cannot_happen
from moore.envs.tasks import Fields, Task


class MujocoSimulator:
    """`num_sims` simulations, bit-equal to single ones on any number of threads; legacy: MuJoCo 2.1.0's dynamics."""

    def __init__(self, task: Task, legacy: bool, num_sims: int) -> None:
        disable_log_file()
        self.task = task
        model = build_model(task.xml, legacy)
        skip_what_cannot_happen(model, task.collides)
        self._batch = mujoco.batch.Batch(model, num_sims, nthread=torch.get_num_threads())
        self._dt = model.opt.timestep * self.task.frame_skip
        self._init_qpos, self._num_velocities = model.qpos0.copy(), model.nv
        self.qpos, self.qvel = self._batch.bind("qpos"), self._batch.bind("qvel")  # live views of the state rows
        self._ctrl = self._batch.bind("ctrl")
        self._outputs = {name: self._batch.bind(name) for name in self.task.outputs}

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw one initial (qpos [nq], qvel [nv]), with the draws in Gymnasium's order."""
        noise = self.task.reset_noise
        qpos = self._init_qpos + rng.uniform(-noise, noise, size=self._init_qpos.shape)
        if self.task.velocity_noise == "uniform":
            return qpos, rng.uniform(-noise, noise, size=self._num_velocities)
        return qpos, noise * rng.standard_normal(self._num_velocities)

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray, ids: np.ndarray) -> np.ndarray:
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)  # clears time, controls and the solver's warm start
        self.qpos[ids], self.qvel[ids] = qpos, qvel
        self._batch.forward(ids)
        return self.task.observe(self._fields(ids))

    def advance(self, action: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x_before = self.qpos[ids, 0]
        self._ctrl[ids] = action
        self._batch.step(ids, nstep=self.task.frame_skip)
        fields = self._fields(ids)
        reward, terminated = self.task.outcome(x_before, fields, action, self._dt)
        return self.task.observe(fields), reward, terminated

    def state(self) -> np.ndarray:
        """Copy MuJoCo's full integration state [num_sims, nstate] float64, solver warm start included."""
        return self._batch.state.copy()

    def load_state(self, state: np.ndarray) -> None:
        self._batch.state[...] = state

    def _fields(self, ids: np.ndarray) -> Fields:
        outputs = {name: values[ids] for name, values in self._outputs.items()}
        return {"qpos": self.qpos[ids], "qvel": self.qvel[ids], **outputs}
