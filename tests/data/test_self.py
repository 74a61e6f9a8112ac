"""Self-made datasets: reproducible, in D4RL's order, true to the simulator, cached by content, printed."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moore.cli.main import main
from moore.data.behaviours import Behaviours, load_behaviours, save_behaviours
from moore.data.check import check_dataset, episode_bounds, replay_error
from moore.data.collect import actor_network, collect, uniform_policy
from moore.data.hdf5 import Dataset, dataset_hash, read_dataset, write_dataset
from moore.data.ids import QUALITIES
from moore.data.load import load_dataset
from moore.data.make import find_recipe
from moore.envs.spec import ENVIRONMENTS
from moore.envs.vector_env import make_env
from tests.support.errors import one_line

HIDDEN = (8,)
ENV_STEPS = [100, 200, 400, 600]


@pytest.fixture(scope="module")
def behaviours_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained policies for every environment; medium is the third snapshot of four, expert the last."""
    directory = tmp_path_factory.mktemp("behaviours")
    for env, spec in ENVIRONMENTS.items():
        generators = [torch.Generator().manual_seed(i) for i in range(len(ENV_STEPS))]
        params = actor_network(spec, HIDDEN).init(generators).numpy()
        provenance: dict[str, Any] = dict.fromkeys(("command", "git_commit"), "x")
        provenance |= {"config": {}, "packages": {}, "wall_seconds": 0.0, "curve": [], "medium": 2, "expert": 3}
        provenance |= {"physics": spec.physics[-1], "random_steps": 100}
        values = np.arange(len(ENV_STEPS)) * 10.0
        save_behaviours(Behaviours(env, params, HIDDEN, np.array(ENV_STEPS), values, values, provenance), directory)
    return directory


@pytest.mark.parametrize(
    ("env", "quality"), [(env, quality) for env, qualities in QUALITIES.items() for quality in qualities]
)
def test_every_recipe(env: str, quality: str, behaviours_dir: Path, tmp_path: Path) -> None:
    limit = ENVIRONMENTS[env].max_episode_steps
    n = 2 * limit if quality == "medium-expert" else 700
    dataset = find_recipe(env, quality, n, behaviours_dir=behaviours_dir).make()
    assert len(dataset) == n or (quality == "medium-expert" and n - limit < len(dataset) < n)
    assert check_dataset(dataset).faults == ()
    replay = replay_error(dataset, str(dataset.metadata["physics"]))
    assert (replay.rows, max(replay.max, replay.reward_max)) == (len(dataset), pytest.approx(0, abs=2e-6))
    write_dataset(tmp_path / "set.hdf5", dataset)
    assert dataset_hash(read_dataset(tmp_path / "set.hdf5")) == dataset_hash(dataset)


def test_same_arguments_same_bytes(behaviours_dir: Path, tmp_path: Path) -> None:
    """Breaks if the number of threads matters, or is left changed, too."""
    before = torch.get_num_threads()
    try:
        for name, seed, threads in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
            torch.set_num_threads(threads)
            dataset = find_recipe("hopper", "medium-replay", 500, seed, behaviours_dir=behaviours_dir).make()
            assert torch.get_num_threads() == threads
            write_dataset(tmp_path / name, dataset)
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first, other = read_dataset(tmp_path / "a"), read_dataset(tmp_path / "c")
    assert not np.array_equal(first.obs[0], other.obs[0])  # the environment's seed
    assert not np.array_equal(first.action[0], other.action[0])  # the policy's


def test_episodes_are_in_the_order_in_which_they_began() -> None:
    """Counting episodes as they end would put the short ones first."""
    sims = make_env("hopper", range(8), "d4rl")
    begun: list[np.ndarray] = []

    def start(ids: np.ndarray) -> np.ndarray:
        obs = sims.reset(ids)
        begun.extend(obs)
        return obs

    rows = collect(sims, uniform_policy(3, 0), 1000, start=start)
    first = np.concatenate([[0], np.flatnonzero(rows["terminated"][:-1]) + 1])
    assert len(first) > 24
    assert len(set(np.diff(first))) > 5  # lengths differ, so the order of ends is another
    np.testing.assert_array_equal(rows["obs"][first], np.array(begun[: len(first)], np.float32))


def test_whole_trajectories_then_a_cut(behaviours_dir: Path) -> None:
    long = find_recipe("halfcheetah", "random", 2500).make()
    starts, ends = episode_bounds(long)
    assert (ends - starts).tolist() == [1000, 1000, 500]
    assert long.truncated.sum() == 2
    assert not long.truncated[-1]  # the cut is the end of the file, not of an episode, as in D4RL
    short = find_recipe("hopper", "medium", 400, behaviours_dir=behaviours_dir).make()
    starts, ends = episode_bounds(short)
    assert short.terminated[ends[:-1] - 1].all()


def test_medium_acts_with_the_medium_snapshot(behaviours_dir: Path) -> None:
    dataset = find_recipe("hopper", "medium", 1500, behaviours_dir=behaviours_dir).make()
    behaviours = load_behaviours("hopper", behaviours_dir)
    head = actor_network(ENVIRONMENTS["hopper"], HIDDEN)(
        torch.from_numpy(behaviours.params[2])[None], torch.from_numpy(dataset.obs)[None]
    )[0]
    mean, log_std = head.chunk(2, dim=-1)
    noise = (torch.atanh(torch.from_numpy(dataset.action)) - mean) / log_std.exp()
    assert noise.mean().item() == pytest.approx(0.0, abs=0.08)  # standard normal again
    assert noise.std().item() == pytest.approx(1.0, abs=0.08)
    assert np.asarray(dataset.metadata["behaviour_env_steps"]).tolist() == [400]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"env": "hoper"}, "did you mean 'hopper'"),
        ({"quality": "low"}, "no quality 'low' of self:hopper; accepted: random, medium, medium-replay, medium-expert"),
        ({"transitions": 0}, "transitions is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"physics": "mujoco"}, "no physics 'mujoco'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], fragment: str) -> None:
    good: dict[str, Any] = {"env": "hopper", "quality": "random", "transitions": 10}
    one_line(lambda: find_recipe(**(good | arguments)).make(), fragment)


def test_cache(behaviours_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = tmp_path / "data"
    monkeypatch.setattr("moore.data.load.find_recipe", partial(find_recipe, behaviours_dir=behaviours_dir))

    def load(**changes: Any) -> Dataset:
        return load_dataset("self:hopper-medium", data_dir, **({"transitions": 50} | changes))

    first = load()
    with monkeypatch.context() as patched:
        patched.setattr("moore.data.make.Recipe.make", None)  # read, not made
        assert dataset_hash(load()) == dataset_hash(first)
    load(seed=1)
    load(transitions=51)
    load(physics="gymnasium")
    assert len(list(data_dir.glob("*.hdf5"))) == 4


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make = ["data", "make", "self:pendulum-random", "--transitions", "300", "--data-dir", str(tmp_path)]
    assert main(make) == 0
    assert "300 rows in" in capsys.readouterr().out
    assert main(make) == 0
    assert "cached" in capsys.readouterr().out
    (made,) = tmp_path.glob("*.hdf5")
    assert main(["data", "check", f"local:{made}"]) == 0
    said = capsys.readouterr().out
    assert "physics gymnasium, 300 rows" in said
    assert "  recipe_hash " in said  # and all other metadata
    assert main(["data", "make", "d4rl:hopper-medium-v2"]) == 2
    assert "not made here" in capsys.readouterr().err


@pytest.mark.parametrize(("env", "cosine"), [("pendulum", 0), ("cartpole_swingup", 2)])
def test_low_never_swings_up(env: str, cosine: int) -> None:
    """Breaks if a row starts above horizontal, starts are not the environment's, or nothing or too much is cut."""
    dataset = find_recipe(env, "low", 10_000).make()
    assert (dataset.obs[:, cosine] <= 0).all()
    starts, ends = episode_bounds(dataset)
    if env == "pendulum":
        assert (dataset.obs[starts, 0] < np.cos(np.pi - 0.11)).all()
        assert not dataset.terminated.any()
    else:
        assert np.abs(dataset.obs[starts, 0]).max() > 0.2  # its spread, which a pendulum's start has not
    early = ends - starts < ENVIRONMENTS[env].max_episode_steps
    cut = ends[dataset.truncated[ends - 1] & early] - 1
    assert len(cut)
    assert (dataset.next_obs[cut, cosine] > 0).all()


def test_the_cartpoles_reference_is_the_end_of_its_ladder() -> None:
    """Breaks if the shipped ladder, its scores and the reference scores are not of one training."""
    behaviours, spec = load_behaviours("cartpole_swingup"), ENVIRONMENTS["cartpole_swingup"]
    random, reference = spec.reference_scores
    np.testing.assert_allclose(behaviours.scores, 100 * (behaviours.returns - random) / (reference - random))
    late = [value for steps, value, _ in behaviours.provenance["curve"] if steps > 28_000]
    assert np.mean(late) == pytest.approx(reference, abs=3)  # stochastic there, deterministic here
    medium = behaviours.scores[behaviours.medium]
    assert 45 <= medium < 60
    assert behaviours.scores[behaviours.expert] == behaviours.scores.max()
