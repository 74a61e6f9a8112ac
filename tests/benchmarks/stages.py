"""Both stages of a unit, trained on given data with a clock on every part, until all or enough is done."""

import gc
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.moore import moore
from moore.algorithm.mopo import mopo
from moore.data.transitions import Transitions
from moore.networks.state import joined, runs_of
from moore.studies.estimate import synchronize
from moore.studies.identity import offline_config, offline_run_id

Part = tuple[str, str]  # (stage, what), a key of `estimate.counts`


class Silent:
    """A log that nobody reads."""

    def evaluation(self, phase: str, env_steps: int, updates: int, returns: np.ndarray) -> None: ...
    def training(self, phase: str, env_steps: int, updates: int, metrics: Mapping[str, list[float]]) -> None: ...
    def stage(self, label: str) -> None: ...
    def progress(self, phase: str, done: int, total: int) -> None: ...


class Clock:
    """Seconds and calls of each part.

    A part lasts until another one begins, and only there a GPU is waited for: inside of a part its queue stays full.
    """

    def __init__(self, device: str) -> None:
        self.seconds: defaultdict[Part, float] = defaultdict(float)
        self.calls: Counter[Part] = Counter()
        self._device = device
        self._part: Part | None = None
        self._since = 0.0

    def turn(self, part: Part | None) -> None:
        """Say that from now on this part is under way, or none."""
        if part == self._part:
            return
        synchronize(self._device)
        now = time.perf_counter()
        if self._part is not None:
            self.seconds[self._part] += now - self._since
        self._part, self._since = part, now

    def watch(self, cohort: Cohort) -> None:
        """Time all moves of a cohort with an ensemble. Evaluations count as full episodes."""
        ensemble, steps = cohort.ensemble, cohort.spec.max_episode_steps * cohort.shared.eval_episodes
        self._watch(cohort, "train_model", "ensemble updates", lambda *_: ensemble.training.done)
        self._watch(cohort, "imagine", "rollouts", lambda t: 1)
        self._watch(cohort, "update_policy", "policy updates", lambda t, count: count)
        self._watch(cohort, "evaluate", "evaluation steps", lambda _: steps)
        self._watch(cohort, "interact", "environment steps", lambda: 1)

    def _watch(self, cohort: Cohort, name: str, what: str, calls: Callable[..., int]) -> None:
        """Time a move; calls(*arguments of a call): how many it counts for."""
        method, part = getattr(cohort, name), (cohort.stage, what)

        def timed(*args: Any) -> None:
            self.turn(part)
            try:
                method(*args)
            finally:
                self.calls[part] += calls(*args)

        setattr(cohort, name, timed)


class Enough(Exception):
    """So much was to be done, or the time is up."""


def train(
    runs: Sequence[RunConfig], data: Mapping[str, Transitions], device: str, enough: Callable[[Cohort], bool]
) -> Clock:
    """Train both stages of a unit in this process, each until its end or until `enough` says so at a safe point."""
    clock, stages = Clock(device), {offline_run_id(run): offline_config(run) for run in runs}
    forks = [list(stages).index(offline_run_id(run)) for run in runs]
    saved: list[dict[str, Any]] = []
    for stage, configs, loop in (("offline", list(stages.values()), mopo), ("online", list(runs), moore)):
        cohort = Cohort(configs, data, stage, device)
        for part, state in zip((cohort.agent, cohort.ensemble), saved, strict=False):
            part.load(joined([runs_of(state, fork) for fork in forks]))
        cohort.ensemble.fitted = stage == "online"
        clock.watch(cohort)

        def safe_point(cohort: Cohort = cohort) -> None:
            if enough(cohort):
                raise Enough

        with suppress(Enough):
            loop(cohort, Silent(), safe_point)
        clock.turn(None)
        saved = [cohort.agent.state(), cohort.ensemble.state()]
        del cohort, safe_point
        gc.collect()  # the offline cohort, which the clock has tied into circles
    return clock
