"""Where the time of a training goes: its methods wrapped with clocks while a `with` block lasts."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import mujoco.batch

import moore.algorithm.cohort
from moore.agents.sac import SAC
from moore.algorithm.cohort import Cohort
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.moore import OnlineStage
from moore.algorithm.replay import ModelBuffer, RealBuffer
from moore.envs.pendulum import PendulumSimulator
from moore.run.checkpoints import Checkpoints
from moore.studies.estimate import synchronize

Point = tuple[Any, str, str]  # where a function is found, its name, what its time counts as

SIMULATORS: tuple[Point, ...] = (
    (mujoco.batch.Batch, "step", "physics"),
    (PendulumSimulator, "advance", "physics"),
)
# every activity is what a loop calls; parts are found inside of several activities
ACTIVITIES: tuple[Point, ...] = (
    (Cohort, "update_policy", "updates"),
    (Cohort, "train_model", "ensemble"),
    (Cohort, "imagine", "rollouts"),
    (Cohort, "evaluate", "evaluation"),
    (OnlineStage, "_environment_step", "environment"),
    (Checkpoints, "save", "checkpoint"),
)
PARTS: tuple[Point, ...] = (
    (SAC, "update", "SAC"),
    (Ensemble, "_update", "gradient"),
    (Cohort, "_draw", "draw"),
    (RealBuffer, "gather", "gather"),
    (ModelBuffer, "gather", "gather"),
    (moore.algorithm.cohort, "concatenate", "gather"),
    (SAC, "act", "policy"),
    *SIMULATORS,
)


class Clocks:
    """Seconds and calls by (activity, part): of a part without the parts inside of it.

    The part of an activity itself is "". What is outside of all activities belongs to nobody. On a GPU every call is
    waited for, so that what it started counts as its own.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.seconds: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        self._device = device
        self._open: list[list[Any]] = []  # [activity, seconds of the calls inside] of the calls under way

    def wrap(self, call: Callable[..., Any], label: str, is_activity: bool) -> Callable[..., Any]:
        """The same function with a clock."""

        @functools.wraps(call)
        def timed(*args: Any, **more: Any) -> Any:
            activity = label if is_activity else self._open[-1][0] if self._open else ""
            frame: list[Any] = [activity, 0.0]
            synchronize(self._device)
            start = time.perf_counter()
            self._open.append(frame)
            try:
                return call(*args, **more)
            finally:
                synchronize(self._device)
                spent = time.perf_counter() - start
                self._open.pop()
                key = activity, "" if is_activity else label
                self.seconds[key] += spent - frame[1]
                self.calls[key] += 1
                if self._open:
                    self._open[-1][1] += spent

        return timed

    @contextmanager
    def watching(self, activities: Sequence[Point] = ACTIVITIES, parts: Sequence[Point] = PARTS) -> Iterator[None]:
        """While it lasts, calls of these functions are timed. AttributeError for one that is not there any more."""
        with ExitStack() as stack:
            for points, is_activity in ((activities, True), (parts, False)):
                for owner, name, label in points:
                    timed = self.wrap(getattr(owner, name), label, is_activity)
                    stack.enter_context(mock.patch.object(owner, name, timed))
            yield


def physics_share(call: Callable[[], object]) -> float:
    """Share of a call's wall time that is spent inside of the simulator."""
    clocks = Clocks()
    with clocks.watching((), SIMULATORS):
        start = time.perf_counter()
        call()
        total = time.perf_counter() - start
    return clocks.seconds["", "physics"] / total
