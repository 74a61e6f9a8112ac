"""The recipes of the self-made datasets `self:<env>-<quality>`.

random         uniform actions
medium         the stochastic policy of the medium snapshot (moore/data/behaviours.py)
expert         the stochastic policy of the expert snapshot
medium-expert  half of the rows from each, the medium half cut at its last episode end as D4RL's stitch_dataset.py does
               it: up to an episode fewer rows than asked for
medium-replay  what SAC saw up to the medium snapshot, in training order: uniform actions while it explored, then the
               stochastic policy of the snapshot nearest in training time
full-replay    the same for the whole training
low            (pendulum, cart-pole) uniform actions from hanging starts, an episode ends when the pole passes
               horizontal: the data never shows the upper half, where the reward is
"""

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch

from moore.base.errors import UserError
from moore.base.machine import commit
from moore.data.behaviours import BEHAVIOURS_DIR, Behaviours, load_behaviours
from moore.data.collect import Policy, Rows, actor_network, collect, gaussian_policy, join, uniform_policy
from moore.data.hdf5 import Dataset, MetadataValue
from moore.data.ids import D4RL_QUALITIES, QUALITIES
from moore.envs.spec import check_physics, find_spec
from moore.envs.vector_env import VectorEnv, make_env

RECIPE_VERSION = 1  # raise it when the same arguments would give other data: cached files are then made anew
NUM_SIMS = 16
HANGING_NOISE = 0.1  # rad and rad/s: half width of the uniform distribution of `low`'s starts on the pendulum
COSINE = {"pendulum": 0, "cartpole_swingup": 2}  # of the angle from upright: its place in the observations

EXPERT_QUALITIES = ("medium-expert", "expert", "full-replay")  # only from a ladder that went on past medium

Segment = tuple[int | None, int]
"""Rows that follow each other: (index of the snapshot that acts, None for uniform actions; number of rows)."""


@dataclass(frozen=True)
class Recipe:
    """All that determines a self-made set, checked by `find_recipe`; behaviours: the policies it needs, if any."""

    env: str
    quality: str
    transitions: int
    seed: int
    physics: str
    behaviours: Behaviours | None

    @property
    def facts(self) -> dict[str, str | int]:
        asked = {key: getattr(self, key) for key in ("env", "quality", "transitions", "seed", "physics")}
        return asked | {"recipe_version": RECIPE_VERSION}

    @property
    def sha256(self) -> str:
        """Hash (hex) all that determines the rows."""
        recipe: dict[str, Any] = self.facts | {"mujoco": mujoco.__version__}
        recipe["behaviours"] = self.behaviours.sha256 if self.behaviours else None
        if self.quality in EXPERT_QUALITIES:  # which snapshot is the expert is not in the policies' hash
            recipe["segments"] = self.segments
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        return f"{self.env}-{self.quality}-{self.sha256[:16]}.hdf5"

    @property
    def segments(self) -> list[Segment]:
        """Tell who makes which rows, in order; their numbers sum to `transitions`."""
        behaviours, transitions = self.behaviours, self.transitions
        if behaviours is None:
            return [(None, transitions)]
        acting = {"medium": behaviours.medium, "expert": behaviours.expert}
        if self.quality in acting:
            return [(acting[self.quality], transitions)]
        if self.quality == "medium-expert":
            half = transitions // 2
            return [(behaviours.medium, half), (behaviours.expert, transitions - half)]
        last = behaviours.medium if self.quality == "medium-replay" else len(behaviours.env_steps) - 1
        return replay_segments(behaviours, last, transitions)

    def make(self) -> Dataset:
        """Simulate the rows; the same recipe gives the same numbers."""
        spec, behaviours, segments = find_spec(self.env), self.behaviours, self.segments
        parts: list[Rows] = []
        for index, (snapshot, rows) in enumerate(segments):
            # no more simulations than episodes needed: those started beyond are thrown away
            num_sims = min(NUM_SIMS, -(-rows // spec.max_episode_steps))
            *env_seeds, policy_seed = np.random.SeedSequence([self.seed, index]).generate_state(num_sims + 1).tolist()
            sims = make_env(self.env, env_seeds, self.physics)
            if snapshot is not None and behaviours is not None:
                actor = actor_network(spec, behaviours.hidden)
                policy = gaussian_policy(actor, behaviours.params[snapshot], policy_seed)
            else:
                policy = uniform_policy(spec.action_dim, policy_seed)
            low = self.quality == "low"
            parts.append(_collect_low(sims, policy, rows, policy_seed) if low else collect(sims, policy, rows))
        if self.quality == "medium-expert":
            parts[0] = whole_episodes(parts[0])
            segments[0] = (segments[0][0], len(parts[0]["obs"]))
        for part in parts[:-1]:  # the next row belongs to another episode
            part["truncated"][-1] = not part["terminated"][-1]

        options = " ".join(f"--{key} {getattr(self, key)}" for key in ("transitions", "seed", "physics"))
        metadata: dict[str, MetadataValue] = {
            **self.facts,
            "algorithm": "SAC" if behaviours else "uniform actions",
            "gym_id": spec.gym_id,
            "command": f"moore data make self:{self.env}-{self.quality} {options}",
            "recipe_hash": self.sha256,
            "git_commit": commit(),
            "mujoco_version": mujoco.__version__,
            "torch_version": str(torch.__version__),
            "numpy_version": np.__version__,
        }
        if behaviours is not None:  # which policies made the rows, in order; uniform exploration is not among them
            used = [snapshot for snapshot, _ in segments if snapshot is not None]
            metadata |= {
                "behaviour_sha256": behaviours.sha256,
                "behaviour_git_commit": str(behaviours.provenance["git_commit"]),
                "behaviour_physics": behaviours.physics,
                "behaviour_env_steps": behaviours.env_steps[used],
                "behaviour_returns": behaviours.returns[used],
                "behaviour_scores": behaviours.scores[used],
                "behaviour_rows": np.array([rows for snapshot, rows in segments if snapshot is not None]),
                "random_rows": sum(rows for snapshot, rows in segments if snapshot is None),
            }
        return Dataset(env=self.env, metadata=metadata, **join(parts))


def find_recipe(
    env: str,
    quality: str,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    behaviours_dir: Path = BEHAVIOURS_DIR,
) -> Recipe:
    """Return the recipe of `self:<env>-<quality>`, with the environment's default_transitions and default_physics.

    Raises UserError for an unknown environment, quality or physics, a size below 1 (medium-expert: below two episodes),
    a negative seed, and where the behaviour policies that the quality needs do not exist.
    """
    spec = find_spec(env)
    transitions = spec.default_transitions if transitions is None else transitions
    physics = physics or spec.default_physics
    qualities = QUALITIES.get(env, ())
    if quality not in qualities:
        raise UserError(f"no quality {quality!r} of self:{env}; accepted: {', '.join(qualities) or 'none'}")
    check_physics(spec, physics)
    if transitions < 1:
        raise UserError(f"transitions is {transitions}; accepted: 1 or more")
    if seed < 0:
        raise UserError(f"seed is {seed}; accepted: 0 or more")
    if quality not in D4RL_QUALITIES or quality == "random":
        return Recipe(env, quality, transitions, seed, physics, None)
    behaviours = load_behaviours(env, behaviours_dir)
    if quality in EXPERT_QUALITIES and behaviours.expert is None:
        existing = ", ".join(other for other in QUALITIES[env] if other not in EXPERT_QUALITIES)
        lacking = f"{behaviours_dir / env}.json names no expert snapshot, trained past medium"
        raise UserError(f"self:{env}-{quality}: {lacking}; accepted: {existing}")
    shortest = 2 * spec.max_episode_steps  # an episode is then sure to end in the medium half
    if quality == "medium-expert" and transitions < shortest:
        raise UserError(f"transitions is {transitions}; accepted: {shortest} or more for self:{env}-medium-expert")
    return Recipe(env, quality, transitions, seed, physics, behaviours)


def replay_segments(behaviours: Behaviours, last: int, transitions: int) -> list[Segment]:
    """Split the rows of a replay buffer over the training time up to snapshot `last`, in order.

    Row j stands for training step s = j / N * (steps of that snapshot). The first provenance["random_steps"] steps are
    uniform exploration; later ones belong to the nearest snapshot.
    """
    steps = behaviours.env_steps[: last + 1].astype(np.float64)
    end = steps[-1]
    exploration = min(float(behaviours.provenance["random_steps"]), end)
    midpoints = (steps[:-1] + steps[1:]) / 2
    edges = np.concatenate([[0.0, exploration], np.maximum(midpoints, exploration), [end]])
    row_edges = np.rint(edges / end * transitions).astype(int).tolist()
    owners: list[int | None] = [None, *range(len(steps))]
    counts = [stop - begin for begin, stop in itertools.pairwise(row_edges)]
    return [(owner, count) for owner, count in zip(owners, counts, strict=True) if count > 0]


def whole_episodes(rows: Rows) -> Rows:
    """Keep the rows up to the last episode end, which is what D4RL's stitch_dataset.py keeps of its first file."""
    last = np.flatnonzero(rows["terminated"] | rows["truncated"])[-1]
    return {name: values[: last + 1] for name, values in rows.items()}


def _collect_low(sims: VectorEnv, policy: Policy, rows: int, seed: int) -> Rows:
    """Simulate poles without rows from above horizontal; pendulums start hanging still up to noise."""
    rng = np.random.default_rng([seed, 1])

    def hang(ids: np.ndarray) -> np.ndarray:
        theta, theta_dot = rng.uniform(-HANGING_NOISE, HANGING_NOISE, (2, len(ids), 1))
        return sims.set_state(np.pi + theta, theta_dot, ids)

    start, cosine = (hang if sims.spec.name == "pendulum" else None), COSINE[sims.spec.name]
    return collect(sims, policy, rows, start=start, cut=lambda next_obs: next_obs[:, cosine] > 0.0)
