"""What a study would cost on this machine: how often each part happens, times what it takes when run for a moment."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, cohort_key
from moore.algorithm.draws import ALL
from moore.algorithm.moore import evaluation_steps
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO
from moore.algorithm.train_model import model_caller, model_updates_of
from moore.data.transitions import Transitions
from moore.envs.spec import find_spec
from moore.envs.vector_env import make_env
from moore.networks.compiled import Compiled
from moore.networks.graphs import WARM_UP
from moore.studies.identity import offline_run_id

MOST_RUNS = {"cpu": 4, "cuda": 32}  # timed at most so many runs at once; the cost of more is taken as proportional
FEW = 10_000  # transitions that stand for any number, where a draw costs the same
LEARNED = {*ROW_STRATEGIES, DENSITY_RATIO, "oorb"}  # strategies with weights of single transitions
MOMENT, LEAST = 0.2, 2  # seconds and calls of a measurement, at least
# start states of a timed rollout, over all runs: the members predict in chunks, more is proportional
BRANCHES = {"cpu": 4000, "cuda": 10**6}
MODEL_UPDATES = 8  # of a timed training of the ensemble
TIMED_AT_ONCE = {"cpu": 1, "cuda": 20}  # timed policy updates of one call: on a GPU the first ones fill the queue
WEIGHED = 2**13  # transitions whose weights are timed, at most
EPOCH = {"offline": 0, "online": 2}  # of the timed stage: in the second one online, its sources have rows


@dataclass(frozen=True)
class Line:
    """A part of the cost: in a stage, `runs` runs (or offline stages) do something `count` times."""

    stage: str
    what: str
    runs: int
    count: float
    seconds: float  # of one of them, for one run

    @property
    def total(self) -> float:
        """Seconds of all runs together, in one process."""
        return self.runs * self.count * self.seconds


def estimate(runs: Sequence[RunConfig], device: str = "cpu") -> list[Line]:
    """Time one unit's parts and count them."""
    config, lines, happens = runs[0], [], counts(runs[0])
    of_stage = {"offline": len({offline_run_id(run) for run in runs}), "online": len(runs)}
    held = config.dataset_transitions or (find_spec(config.env).default_transitions if config.dataset else 0)
    # all of them where weights of every one are summed for each minibatch
    rows = held if config.uses_density_ratio and not config.uses_model else min(held, FEW)
    for (stage, what), count in happens.items():
        most = min(of_stage[stage], MOST_RUNS[torch.device(device).type])
        seconds = times(cohort_key(config), stage, most, device, rows)[what]
        lines.append(Line(stage, what, of_stage[stage], count, seconds))
    trainings = happens.get(("online", "rollouts"), 0)
    for sampling, number in Counter(run.sampling for run in runs if trainings).items():
        learned = dict.fromkeys(name for consumer in CONSUMERS if (name := getattr(sampling, consumer)) in LEARNED)
        if learned:  # of the offline transitions and, on average, half of the online ones, once for each retraining
            weighed = replace(cohort_key(config), sampling=sampling)
            seconds = weights_seconds(weighed, held + config.online_steps // 2, device)
            lines.append(Line("online", f"weights by {', '.join(learned)}", number, trainings, seconds))
    return lines


def counts(config: RunConfig) -> dict[tuple[str, str], float]:
    """Count how often one run does each part, (stage, what), that it does; ensembles train to their caps."""
    model, offline, online = config.uses_model, config.offline, config.online
    evaluation, happens = find_spec(config.env).max_episode_steps * config.eval_episodes, {}
    if offline.updates and config.dataset is not None:
        happens = {
            ("offline", "ensemble updates"): config.dynamics.offline_max_updates * model,
            ("offline", "rollouts"): math.ceil(offline.updates / offline.rollout_interval) * model,
            ("offline", "policy updates"): offline.updates,
            ("offline", "evaluation steps"): (1 + offline.updates // offline.eval_interval) * evaluation,
        }
    idle = idle_steps(config)
    epochs, rest = divmod(idle, online.epoch_steps)
    phi = online.retrain_interval
    trainings = (online.epochs - epochs) * (online.epoch_steps // phi) - rest // phi
    trainings *= model and online.utd_ratio > 0
    if model:  # D_model is empty until the first rollout
        idle = max(idle, phi - 1)
    caps = trainings * config.dynamics.online_max_updates
    if trainings and config.dataset is None:  # from scratch, the first training is the long one
        caps += config.dynamics.offline_max_updates - config.dynamics.online_max_updates
    first_epoch = (online.first_epoch_factor - 1) * max(0, online.epoch_steps - idle)
    happens |= {
        ("online", "environment steps"): config.online_steps,
        ("online", "ensemble updates"): caps,
        ("online", "rollouts"): trainings,
        ("online", "policy updates"): online.utd_ratio * (config.online_steps - idle + first_epoch),
        ("online", "evaluation steps"): (1 + len(evaluation_steps(config))) * evaluation,
    }
    return {part: count for part, count in happens.items() if count}


def idle_steps(config: RunConfig) -> int:
    """Return the number of first online steps that no update follows."""
    return max(config.online.exploration_steps, config.online.warmup_steps, 1) - 1


@cache
def times(config: RunConfig, stage: str, runs: int, device: str, transitions: int) -> dict[str, float]:
    """Measure `runs` runs with this configuration, side by side, in one stage ("offline" or "online").

    Returns the seconds of one run for each part that `counts` counts: one update with its batch, one whole rollout, one
    step. transitions: random ones, of the dataset; 0 if config.dataset is None. A rollout is timed with one step.
    """
    most = min(config.rollout.batch_size, max(1, BRANCHES[torch.device(device).type] // runs))
    cohort = random_cohort(_shortened(config, most), runs, stage, device, transitions)
    # by what the run makes: so few updates as are timed would not be compiled
    cohort.model_call = model_caller(config, cohort.device, model_updates_of(config, stage))
    for call in (cohort.policy_call, cohort.model_call):
        if isinstance(call, Compiled):
            call.builds = False  # a look at the cost waits for no compiler: it may be less than it says
    interval, t = cohort.agent.actor_interval, _epoch(config, stage)
    taken = {"evaluation steps": _evaluation_step_seconds(cohort, device)}
    if config.uses_model:
        taken["ensemble updates"] = _seconds(lambda: cohort.train_model(t), device) / MODEL_UPDATES
        steps = config.rollout.batch_size * config.rollout_length(stage)
        taken["rollouts"] = _seconds(lambda: cohort.imagine(t), device) * steps / most
    if stage == "offline" or config.online.utd_ratio:  # else nothing is updated
        count = interval * max(1, TIMED_AT_ONCE[cohort.device.type] // interval)
        taken["policy updates"] = _seconds(lambda: cohort.update_policy(t, count), device) / count
    if stage == "online":
        known = cohort.real_buffer.online_size

        def step() -> None:
            cohort.real_buffer.online_size = known - 1  # the table never fills
            cohort.interact()

        taken["environment steps"] = _seconds(step, device)
    return {what: seconds / runs for what, seconds in taken.items()}


@cache
def weights_seconds(config: RunConfig, transitions: int, device: str) -> float:
    """Measure new weights of one run's rows, as before a retraining, and the first draw with them, in seconds.

    transitions: offline and online ones; the time of more than WEIGHED is taken as proportional.
    """
    few = min(transitions, WEIGHED)
    cohort = random_cohort(_shortened(config, 1), 1, "online", device, few)
    known = cohort.real_buffer.online_size

    def refresh() -> None:
        cohort.real_buffer.online_size = 2 * known - 1 - cohort.real_buffer.online_size  # as after another step
        cohort.refresh_weights()
        cohort.draw("model_batches", _epoch(config, "online"), "model_batches", config.dynamics.batch_size, ALL)

    return _seconds(refresh, device) * transitions / (few + known)


def random_cohort(config: RunConfig, runs: int, stage: str, device: str, transitions: int) -> Cohort:
    """Make a cohort on random transitions, ready for every part of its stage: ensemble and D_model count as filled."""
    configs = [replace(config, seed=seed) for seed in range(runs)]
    data = {} if config.dataset is None else {config.dataset: random_transitions(config.env, transitions)}
    cohort = Cohort(configs, data, stage, device)
    if stage == "online":
        rows = config.online.epoch_steps
        size = (runs, rows, cohort.real_buffer.rows.shape[1])
        cohort.real_buffer.load({"online_rows": torch.randn(size), "return_to_go": torch.zeros(runs, rows)})
    if cohort.ensemble is not None:
        cohort.ensemble.fitted = True
        cohort.refresh_weights()
        cohort.imagine(_epoch(config, stage))
    return cohort


def _epoch(config: RunConfig, stage: str) -> int:
    return min(EPOCH[stage], config.online.epochs)


def random_transitions(env: str, count: int, seed: int = 0) -> Transitions:
    """Draw standard normal transitions in the shapes of an environment; no episode terminates."""
    spec, generator = find_spec(env), np.random.default_rng(seed)
    normal = lambda *shape: generator.standard_normal((count, *shape), dtype=np.float32)  # noqa: E731
    obs, next_obs, action = normal(spec.obs_dim), normal(spec.obs_dim), np.tanh(normal(spec.action_dim))
    return_to_go, episode_return, reward = normal(), normal(), normal()
    return Transitions(obs, action, reward, next_obs, np.zeros(count, bool), 1.0, return_to_go, 0.0, episode_return)


def synchronize(device: str) -> None:
    """Wait for what a GPU still has to do."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _shortened(config: RunConfig, branches: int) -> RunConfig:
    """Return the same shapes with short calls: few updates of an ensemble that never converges, one imagined step."""
    few = MODEL_UPDATES
    dynamics = replace(config.dynamics, max_holdout=8, patience=few, offline_max_updates=few, online_max_updates=few)
    rollout = replace(config.rollout, batch_size=branches, length=1, retain=1)
    online = replace(config.online, rollout_length=None, exploration_steps=0, warmup_steps=0)
    return replace(config, dynamics=dynamics, rollout=rollout, online=online)


def _evaluation_step_seconds(cohort: Cohort, device: str) -> float:
    """Measure one action and one step of the episodes of all runs, side by side."""
    config, runs = cohort.shared, len(cohort.configs)
    env = make_env(config.env, range(runs * config.eval_episodes), config.physics)
    obs = torch.as_tensor(env.reset(), dtype=torch.float32, device=device).unflatten(0, (runs, config.eval_episodes))

    def step() -> None:
        action = cohort.agent.act(obs).nan_to_num().flatten(0, 1).cpu().numpy()
        _, _, terminated, truncated = env.step(action)
        if (terminated | truncated).any():
            env.reset()

    return _seconds(step, device) / config.eval_episodes


def _seconds(call: Callable[[], object], device: str) -> float:
    """Return the least time of a call within a moment, after those that warm up and, on a GPU, record it."""
    for _ in range(1 if torch.device(device).type == "cpu" else WARM_UP + 1):
        call()
    synchronize(device)
    taken, end = list[float](), time.perf_counter() + MOMENT
    while time.perf_counter() < end or len(taken) < LEAST:
        start = time.perf_counter()
        call()
        synchronize(device)
        taken.append(time.perf_counter() - start)
    return min(taken)
