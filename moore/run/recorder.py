"""Result rows: one append-only CSV file and one manifest for each run; tables and figures are made of nothing else."""

import csv
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from moore.algorithm.config import RunConfig
from moore.base.files import GOES_ON, cannot_write
from moore.base.rows import COLUMNS
from moore.data.scores import normalized_score
from moore.studies.identity import dataset_label, run_id

HEADER = (",".join(COLUMNS) + "\n").encode()
DIVERGENCE_METRICS = ("train/critic_loss", "train/actor_loss", "train/q", "model/loss")


class Recorder:
    """Writes the rows of a cohort's runs, <root>/<run id>/rows.csv, and tells the display how far they are.

    `rewind` comes first: it cuts off rows after the last checkpoint, so that an interrupted run ends with the rows of
    an uninterrupted one. check: called before rows are written, raises where they are another process's to write.
    Raises UserError where they cannot be written.
    """

    def __init__(
        self,
        root: Path,
        study: str,
        configs: Sequence[RunConfig],
        display: Callable[[dict[str, Any]], None] = lambda status: None,
        ids: Sequence[str] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.configs, self.study, self.display, self._check = list(configs), study, display, check
        self.ids = [run_id(config) for config in configs] if ids is None else list(ids)
        self.methods = [config.method for config in configs]
        self.diverged = [False] * len(configs)
        self._begun = _clocks()  # less the seconds of earlier processes on these runs
        self.paths = [root / name / "rows.csv" for name in self.ids]
        self._status: dict[str, Any] = {"label": "", "done": 0, "total": 1, "scores": {}}
        for path in self.paths:
            with _can_write(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open("a").close()

    def costs(self) -> dict[str, float]:
        """Return each run's share of the seconds spent on these runs, interruptions excluded."""
        return {name: seconds / len(self.configs) for name, seconds in self._seconds().items()}

    def evaluation(self, phase: str, env_steps: int, updates: int, returns: np.ndarray) -> None:
        """Write eval/return (raw, mean over episodes) and eval/score (0 to 100) of raw returns [R, episodes].

        A run whose policy gave no finite action has no score and is recorded as diverged.
        """
        returns = returns.mean(1)
        for run in np.flatnonzero(~np.isfinite(returns)).tolist():
            self._diverge(run, phase, env_steps, updates)
        scores = [float(normalized_score(self.configs[0].env, value)) for value in returns]
        self._write(phase, env_steps, updates, {"eval/return": returns.tolist(), "eval/score": scores})
        own = np.array(self.methods)
        means = {method: float(np.mean(np.array(scores)[own == method])) for method in self.methods}
        self._show(label=self._status["label"] or phase, scores=means)

    def training(self, phase: str, env_steps: int, updates: int, metrics: Mapping[str, Sequence[float]]) -> None:
        """Write training metrics; a run whose losses are not finite is recorded as diverged."""
        self._write(phase, env_steps, updates, metrics)
        for run in range(len(self.configs)):
            if not all(math.isfinite(metrics[key][run]) for key in DIVERGENCE_METRICS if key in metrics):
                self._diverge(run, phase, env_steps, updates)

    def stage(self, label: str) -> None:
        self._show(label=label)

    def progress(self, phase: str, done: int, total: int) -> None:
        self._show(label=f"{phase}: {', '.join(dict.fromkeys(self.methods))}", done=done, total=total)

    def state(self) -> dict[str, Any]:
        """Positions in the files, for the checkpoint; the rows up to there are on the disk."""
        for path in self.paths:
            with _can_write(path), path.open("r+b") as file:
                os.fsync(file.fileno())
        sizes = [path.stat().st_size for path in self.paths]
        return {"sizes": sizes, "diverged": list(self.diverged), **self._seconds()}

    def rewind(self, state: Mapping[str, Any] | None) -> None:
        """Cut the files back to a checkpoint's positions, or to nothing; a run that goes on is not finished."""
        self._check()
        sizes = state["sizes"] if state else [len(HEADER)] * len(self.paths)
        for path, size in zip(self.paths, sizes, strict=True):
            path.with_name("manifest.json").unlink(missing_ok=True)
            with _can_write(path), path.open("r+b") as file:
                file.write(HEADER)
                file.truncate(size)
        if state:
            self.diverged = list(state["diverged"])
            self._begun = {name: now - state[name] for name, now in _clocks().items()}

    def _show(self, **news: Any) -> None:
        self._status |= news
        self.display(self._status)

    def _seconds(self) -> dict[str, float]:
        return {name: now - self._begun[name] for name, now in _clocks().items()}

    def _diverge(self, run: int, phase: str, env_steps: int, updates: int) -> None:
        self._write(phase, env_steps, updates, {"diverged": [1.0] * len(self.configs)}, only=run)
        self.diverged[run] = True

    def _write(
        self, phase: str, env_steps: int, updates: int, metrics: Mapping[str, Sequence[float]], only: int | None = None
    ) -> None:
        self._check()
        point = (phase, env_steps, updates, round(self._seconds()["wall_seconds"], 2))
        for run, (path, config) in enumerate(zip(self.paths, self.configs, strict=True)):
            if self.diverged[run] or only not in (None, run):
                continue
            head = (self.study, self.methods[run], dataset_label(config), config.seed, self.ids[run], *point)
            with _can_write(path), path.open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(
                    (*head, metric, repr(float(values[run]))) for metric, values in metrics.items()
                )


def _clocks() -> dict[str, float]:
    return {"cpu_seconds": time.process_time(), "wall_seconds": time.monotonic()}


@contextmanager
def _can_write(path: Path) -> Iterator[None]:
    """Half a row, on a full disk, is cut off with the others that no checkpoint knows of."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error, GOES_ON) from None
