"""A slice of MOORe at the paper's scale, and what the whole column would take (`make bench-slice DEVICE=cuda`).

    python -m tests.benchmarks.slice --device cuda --out tests/benchmarks/results
    python -m tests.benchmarks.slice --device cpu --runs 1 --branches 500 --offline-updates 50 --online-steps 260

20 runs of halfcheetah in one process, four sampling strategies with five seeds each, every strategy on a dataset of its
own. The column's 60 runs are projected as three such cohorts, priced as halfcheetah's; the suite itself trains a
process for each dataset. Networks, buffers, rollouts and intervals are the paper scale's; there are fewer of
everything. The data are random numbers, on which no ensemble converges, so that every training goes to its cap. The
clock includes the first calls, which compile and allocate.
"""

from __future__ import annotations

import gc
import os
import tempfile
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
from moore.algorithm.moore import OnlineStage
from moore.algorithm.mopo import offline_stage
from moore.base.errors import UserError
from moore.base.machine import peak_bytes, threads
from moore.cli.options import check_device, find_study
from moore.data.transitions import Transitions
from moore.run.recorder import Recorder
from moore.studies.axes import merge
from moore.studies.estimate import random_transitions, synchronize
from tests.benchmarks.process import run
from tests.benchmarks.projection import Part, markdown, projection
from tests.benchmarks.report import report_facts, write_report

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
        "sac": {"hidden": [size.width] * len(runs[0].sac.hidden)},
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
    return [
        from_mapping(
            merge(to_mapping(run), values | {"dataset": f"random:{strategies.index(run.method)}"}), "the slice"
        )
        for run in sorted(runs, key=lambda run: run.seed)[: size.runs]
    ]


class Clock:
    """Seconds and calls of each part, a (stage, what) of `moore.studies.estimate.counts`.

    A part lasts until another one begins, and only there a GPU is waited for: inside of a part its queue stays full.
    """

    def __init__(self, device: str) -> None:
        self.seconds: defaultdict[Part, float] = defaultdict(float)
        self.calls: Counter[Part] = Counter()
        self._device = device
        self._part: Part | None = None
        self._since = 0.0

    def turn(self, part: Part | None) -> None:
        """From now on this part is under way, or none."""
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

    def watch_cohort(self, cohort: Cohort, cap: int) -> None:
        """Time the moves of a cohort; cap: updates of a training of the ensemble that is not cut off."""
        stage, ensemble, config = cohort.stage, cohort.ensemble, cohort.shared
        assert ensemble is not None
        trained = lambda t: cap if ensemble.training is None else ensemble.training.done  # noqa: E731
        episodes = cohort.spec.max_episode_steps * config.eval_episodes  # halfcheetah's all last so long
        self.watch(cohort, "train_model", (stage, "ensemble updates"), trained)
        self.watch(cohort, "imagine", (stage, "rollouts"), lambda t: 1)
        self.watch(cohort, "update_policy", (stage, "policy updates"), lambda t, count: count)
        self.watch(cohort, "evaluate", (stage, "evaluation steps"), lambda: episodes)


def run_slice(
    configs: Sequence[RunConfig], data: Mapping[str, Transitions], size: Size, device: str, seconds: float
) -> Clock:
    """Both stages, as a unit runs them, until all is done or the time is up; the second starts where the first ends."""
    clock, end = Clock(device), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        state = _offline(configs, data, size, device, clock, Path(folder), end - (1 - OFFLINE_SHARE) * seconds)
        gc.collect()  # the offline cohort, which the clock has tied into circles
        _online(configs, data, size, device, clock, Path(folder), end, state)
    return clock


def _offline(
    configs: Sequence[RunConfig],
    data: Mapping[str, Transitions],
    size: Size,
    device: str,
    clock: Clock,
    folder: Path,
    end: float,
) -> list[dict[str, torch.Tensor]]:
    cohort = Cohort(configs, data, "offline", device)
    clock.watch_cohort(cohort, size.model_updates)

    def safe_point() -> None:
        if cohort.updates >= size.offline_updates or time.monotonic() > end:
            raise Enough

    with suppress(Enough):
        offline_stage(cohort, Recorder(folder / "offline", "slice", configs), safe_point)
    clock.turn(None)
    assert cohort.ensemble is not None
    return [cohort.agent.state(), cohort.ensemble.state()]


def _online(
    configs: Sequence[RunConfig],
    data: Mapping[str, Transitions],
    size: Size,
    device: str,
    clock: Clock,
    folder: Path,
    end: float,
    state: Sequence[dict[str, torch.Tensor]],
) -> None:
    cohort = Cohort(configs, data, "online", device)
    assert cohort.ensemble is not None
    cohort.agent.load(state[0])
    cohort.ensemble.load(state[1])
    stage = OnlineStage(cohort)
    clock.watch_cohort(cohort, size.retrain_updates)
    clock.watch(stage, "_environment_step", ("online", "environment steps"), lambda: 1)

    def safe_point() -> None:
        done = stage.epoch * cohort.shared.online.epoch_steps + stage.tau
        if done >= size.online_steps or time.monotonic() > end:
            raise Enough

    with suppress(Enough):
        stage.run(Recorder(folder / "online", "slice", configs), safe_point)
    clock.turn(None)


def peak_memory(device: str) -> dict[str, int]:
    """Bytes: of a GPU what its tensors took at most and what the allocator held for them, else of the process."""
    if torch.device(device).type == "cuda":
        return {
            "allocated": torch.cuda.max_memory_allocated(device),
            "reserved": torch.cuda.max_memory_reserved(device),
        }
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
    start, load, kind = time.monotonic(), os.getloadavg()[0], torch.device(device).type
    torch.set_num_threads(int(threads(device, 1)["OMP_NUM_THREADS"]))
    configs = configurations(size)
    names = dict.fromkeys(config.dataset for config in configs)
    data = {str(name): random_transitions(configs[0].env, size.transitions, seed) for seed, name in enumerate(names)}
    clock = run_slice(configs, data, size, device, 60 * minutes - (time.monotonic() - start))
    memory = peak_memory(device)
    rows = projection(configs, clock.seconds, clock.calls)
    facts = report_facts(
        load,
        device=kind,
        threads=torch.get_num_threads(),
        minutes=(time.monotonic() - start) / 60,
        memory=memory,
        size=asdict(size),
        full=asdict(Size()),
    )
    text = markdown(facts, rows)
    print(text)
    write_report(out, "slice" if kind == "cpu" else f"slice-{kind}", facts, [asdict(row) for row in rows], text)


if __name__ == "__main__":
    run(main, "tests.benchmarks.slice")
