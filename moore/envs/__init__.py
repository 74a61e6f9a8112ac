"""Vectorised environments: bit-equal to Gymnasium, or with the physics of D4RL's datasets."""

from moore.envs.spec import ENVIRONMENTS, EnvSpec
from moore.envs.termination import terminated_fn
from moore.envs.vector_env import VectorEnv, make_env

__all__ = ["ENVIRONMENTS", "EnvSpec", "VectorEnv", "make_env", "terminated_fn"]
