"""A slice of the paper's scale: both stages of one unit, in its shapes, cut by counts, and what the whole would take.

The runs are those of the study `sampling` on halfcheetah-medium, each strategy on a random dataset of its own, on which
every training of the ensemble goes to its cap.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.algorithm.moore import moore
from moore.algorithm.mopo import mopo
from moore.base.errors import UserError
from moore.base.machine import peak_bytes, threads
from moore.cli.options import check_device, find_study
from moore.data.transitions import Transitions
from moore.studies.axes import merge
from tests.benchmarks.cases import random_transitions
from tests.benchmarks.phases import Silent
from tests.benchmarks.projection import Part, projection, slice_report
from tests.benchmarks.report import report_facts, write_report
from tests.benchmarks.timing import is_gpu, synchronize

DATASET = "d4rl:halfcheetah-medium-v2"  # the task whose settings the runs have
OFFLINE_SHARE = 0.5  # of the time: what is left then belongs to the online stage
NEVER = 10**9  # patience of an ensemble that goes to its cap


@dataclass(frozen=True)
class Size:
    """How much of the paper scale is run; the defaults have its shapes.

    Every number but these is the scale's: runs, transitions of each dataset, units of a hidden layer of actor and
    critics and of the ensemble, start states of a rollout, updates of the first training of the ensemble (its cap), of
    the policy, environment steps online; and intervals, in updates or steps, that a test shortens.
    """

    runs: int = 20
    transitions: int = 1_000_000
    width: int = 256
    model_width: int = 200
    branches: int = 50_000
    model_updates: int = 2000
    offline_updates: int = 20_000
    online_steps: int = 2000
    rollout_interval: int = 1000
    retrain_interval: int = 250
    retrain_updates: int = 1000
    utd_ratio: int = 20
    eval_episodes: int = 10
    precision: str = "float32"


class Enough(Exception):
    """So much was to be done, or the time is up."""


def configurations(size: Size) -> list[RunConfig]:
    """The slice's runs: the strategies of the study `sampling`, each on its own random dataset."""
    runs = [run for run in find_study("sampling", "paper").runs if run.dataset == DATASET]
    strategies = list(dict.fromkeys(run.method for run in runs))
    values: dict[str, Any] = {
        "agent": {"hidden": [size.width] * len(runs[0].agent.hidden)},
        "dynamics": {
            "hidden": [size.model_width] * len(runs[0].dynamics.hidden),
            "patience": NEVER,
            "offline_max_updates": size.model_updates,
            "online_max_updates": size.retrain_updates,
        },
        "rollout": {"batch_size": size.branches},
        "offline": {"rollout_interval": size.rollout_interval},
        "online": {"retrain_interval": size.retrain_interval, "utd_ratio": size.utd_ratio},
        "eval_episodes": size.eval_episodes,
        "dataset_transitions": size.transitions,
        "precision": size.precision,
    }
    if not 1 <= size.runs <= len(runs):
        raise UserError(f"--runs: {size.runs} is not accepted; expected 1 to {len(runs)}")
    own = lambda run: values | {"dataset": f"random:{strategies.index(run.method)}"}  # noqa: E731
    chosen = sorted(runs, key=lambda run: run.seed)[: size.runs]
    return [from_mapping(merge(to_mapping(run), own(run)), "the slice") for run in chosen]


class Clock:
    """Seconds and calls of each part, a (stage, what) of `counts`.

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

    def watch(self, owner: object, name: str, part: Part, calls: Callable[..., int]) -> None:
        """Time a method of an object; calls(*arguments of a call): how many it counts for."""
        method = getattr(owner, name)

        def timed(*args: Any, **more: Any) -> Any:
            self.turn(part)
            try:
                return method(*args, **more)
            finally:
                self.calls[part] += calls(*args, **more)

        setattr(owner, name, timed)

    def watch_cohort(self, cohort: Cohort) -> None:
        """Time the moves of a cohort."""
        stage, ensemble, config = cohort.stage, cohort.ensemble, cohort.shared
        assert ensemble is not None
        episodes = cohort.spec.max_episode_steps * config.eval_episodes  # halfcheetah's all last so long
        self.watch(cohort, "train_model", (stage, "ensemble updates"), lambda *_: ensemble.training.done)
        self.watch(cohort, "imagine", (stage, "rollouts"), lambda t: 1)
        self.watch(cohort, "update_policy", (stage, "policy updates"), lambda t, count: count)
        self.watch(cohort, "evaluate", (stage, "evaluation steps"), lambda: episodes)
        if stage == "online":
            self.watch(cohort, "interact", (stage, "environment steps"), lambda: 1)


def run_slice(
    configs: Sequence[RunConfig], data: Mapping[str, Transitions], size: Size, device: str, seconds: float
) -> Clock:
    """Run both stages, as a unit does, until all is done or the time is up; the second starts where the first ends."""
    clock, end = Clock(device), time.monotonic() + seconds
    state: list[dict[str, Any]] = []
    for stage, loop in (("offline", mopo), ("online", moore)):
        cohort = Cohort(configs, data, stage, device)
        ensemble, limit = cohort.ensemble, end - ((1 - OFFLINE_SHARE) * seconds if stage == "offline" else 0)
        assert ensemble is not None
        for part, saved in zip((cohort.agent, ensemble), state, strict=False):
            part.load(saved)
        ensemble.fitted = stage == "online"
        clock.watch_cohort(cohort)

        def safe_point(cohort: Cohort = cohort, stage: str = stage, limit: float = limit) -> None:
            steps = (cohort.clock.t - 1) * cohort.shared.online.epoch_steps + cohort.clock.tau - 1
            enough = cohort.updates >= size.offline_updates if stage == "offline" else steps >= size.online_steps
            if enough or time.monotonic() > limit:
                raise Enough

        with suppress(Enough):
            loop(cohort, Silent(), safe_point)
        clock.turn(None)
        state = [cohort.agent.state(), ensemble.state()]
        del cohort
        gc.collect()  # the offline cohort, which the clock has tied into circles
    return clock


def peak_memory(device: str) -> dict[str, int]:
    """Bytes: of a GPU what its tensors took at most and what the allocator held for them, else of the process."""
    if is_gpu(device):
        held = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return dict(zip(("allocated", "reserved"), held, strict=True))
    return {"resident": peak_bytes()}


def main(
    size: Annotated[Size, tyro.conf.arg(name="")] = Size(),
    out: Path | None = None,
    device: str = "cuda",
    minutes: float = 7.5,
) -> None:
    """Run the slice and print its report; with --out, write slice.md and slice.json there (slice-cuda.* of a GPU).

    minutes: after which it stops, wherever it is, and projects from what was done; a single rollout is not cut off.
    """
    check_device(device)
    start, load = time.monotonic(), os.getloadavg()[0]
    torch.set_num_threads(int(threads(device, 1)["OMP_NUM_THREADS"]))
    configs = configurations(size)
    names = dict.fromkeys(config.dataset for config in configs)
    data = {str(name): random_transitions(configs[0].env, size.transitions, seed) for seed, name in enumerate(names)}
    clock = run_slice(configs, data, size, device, 60 * minutes - (time.monotonic() - start))
    rows = projection(configs, clock.seconds, clock.calls)
    more = {"memory": peak_memory(device), "size": asdict(size), "full": asdict(Size())}
    facts = report_facts(device, load, start, threads=torch.get_num_threads(), **more)
    write_report(out, "slice", facts, [asdict(row) for row in rows], slice_report(facts, rows))
