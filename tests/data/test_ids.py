"""Dataset ids, and what they need."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moore.data.ids import resolve
from moore.envs.spec import ENVIRONMENTS
from moore.envs.vector_env import make_env
from tests.support.errors import one_line


def test_resolve() -> None:
    own = resolve("self:hopper-medium-replay")
    assert (own.source, own.env, own.quality, own.path) == ("self", "hopper", "medium-replay", None)
    assert resolve("self:inverted_double_pendulum-medium").env == "inverted_double_pendulum"
    assert resolve("self:pendulum-low").quality == "low"
    d4rl = resolve("d4rl:walker2d-medium-expert-v2")
    assert (d4rl.source, d4rl.env, d4rl.quality) == ("d4rl", "walker2d", "medium-expert")
    local = resolve("local:a/b:c.hdf5")
    assert (local.source, local.env, local.path) == ("local", None, Path("a/b:c.hdf5"))
    named = resolve("local:hopper:x.hdf5")
    assert (named.env, named.path) == ("hopper", Path("x.hdf5"))
    assert str(own) == "self:hopper-medium-replay"


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("self:hoper-medium", "did you mean 'self:hopper-medium'"),
        ("self:hopper-low", "accepted"),  # only pendulum has it
        ("locl:set.hdf5", "did you mean 'local:set.hdf5'?"),
        ("local:hoper:set.hdf5", "did you mean 'hopper'?"),
        ("local:Hopper-v2:set.hdf5", "did you mean 'hopper'?"),
        ("hopper-medium-v2", "did you mean 'd4rl:hopper-medium-v2'"),
        ("d4rl:hopper_full_replay-v2", "did you mean 'd4rl:hopper-full-replay-v2'"),
        ("hopper_full_replay-v2.hdf5", "did you mean 'd4rl:hopper-full-replay-v2'"),  # the file's name
        ("D4RL:HALFCHEETAH-RANDOM-V2", "did you mean 'd4rl:halfcheetah-random-v2'"),
        ("d4rl:pendulum-medium-v2", "accepted"),
        ("minari:mujoco/hopper/medium", "did you mean 'minari:mujoco/hopper/medium-v0'?"),
        ("minari:../hopper-v0", "is no Minari id"),
        ("minari:a//b/hopper-v0", "is no Minari id"),
        ("minary:mujoco/hopper/medium-v0", "minari:NAMESPACE/NAME-vN"),
        ("none:hopper", "without a dataset"),
        ("local:", "names no file"),
        ("local:hopper:", "names no file"),
        ("local", "unknown dataset id"),
        ("", "accepted"),
    ],
)
def test_bad_ids(text: str, fragment: str) -> None:
    one_line(lambda: resolve(text), fragment)


def test_facts_load_no_torch() -> None:
    """Breaks if reading tables of results loads what trains."""
    modules = ("envs.spec", "data.scores", "data.ids", "data.behaviours", "data.d4rl", "data.mismatch", "data.hdf5")
    program = "".join(f"import moore.{module}\n" for module in modules)
    program += "moore.data.behaviours.load_behaviours('hopper'); import sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize("env", ["pendulum", "inverted_double_pendulum"])
def test_random_reference_is_the_return_of_uniform_actions(env: str) -> None:
    n = 400
    sims = make_env(env, range(5000, 5000 + n), "gymnasium")
    sims.reset()
    rng = np.random.default_rng(1)
    returns, alive = np.zeros(n), np.arange(n)
    while len(alive):
        action = rng.uniform(-1, 1, (len(alive), 1)).astype(np.float32)
        _, reward, terminated, truncated = sims.step(action, alive)
        returns[alive] += reward
        alive = alive[~(terminated | truncated)]
    standard_error = returns.std(ddof=1) / np.sqrt(n)
    random, _ = ENVIRONMENTS[env].reference_scores or (np.nan, np.nan)
    assert abs(returns.mean() - random) < 5 * standard_error
