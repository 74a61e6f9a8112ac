"""Shows a study's rows in Weights & Biases or TensorBoard: a view of each rows.csv, in a process that may fail.

    python -m moore.run.follow runs/sampling-mini tensorboard < /dev/null

Without the last part it goes on until its input ends. Names and numbers are those of the rows; the x-axis is env_steps
online and updates offline. Training neither waits for it nor knows of it.
"""

import importlib.util
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import tyro

from moore.base.errors import UserError
from moore.base.rows import read_rows

Logger = Literal["wandb", "tensorboard"]
POLL_SECONDS = 10.0
LAST_SECONDS = 300.0  # for what is left when training has ended: an upload, say


class TensorBoard:
    """Event files, written anew by every process: so a run that goes on has one curve, and no point twice."""

    def __init__(self, folder: Path, name: str, row: Mapping[str, Any], axis: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder / name, ignore_errors=True)
        self._writer = SummaryWriter(str(folder / name))

    def point(self, index: int, x: int, row: Mapping[str, Any], values: Mapping[str, float]) -> None:
        for metric, value in values.items():
            self._writer.add_scalar(metric, value, x, row["wall_seconds"])
        self._writer.flush()

    def close(self, config: Mapping[str, Any]) -> None:
        self._writer.add_text("config", f"```\n{json.dumps(config, indent=1)}\n```")
        self._writer.close()


class Wandb:
    """A run of Weights & Biases with the id of ours, which goes on where an earlier process ended.

    Offline (WANDB_MODE=offline) every process writes the whole run; `wandb sync` merges them by id and step.
    """

    def __init__(self, folder: Path, name: str, row: Mapping[str, Any], axis: str) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        about = {key: row[key] for key in ("method", "dataset", "seed", "phase")}
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "moore"), id=name, name=name, group=row["study"], dir=str(folder),
            config=about, resume="allow", reinit="create_new", settings=wandb.Settings(console="off", silent=True),
        )  # fmt: skip
        self._run.define_metric("*", step_metric=axis)

    def point(self, index: int, x: int, row: Mapping[str, Any], values: Mapping[str, float]) -> None:
        if index >= self._run.step:  # else the server has it
            axes = {key: int(row[key]) for key in ("env_steps", "updates")}
            self._run.log({**values, **axes, "wall_seconds": float(row["wall_seconds"])}, step=index)

    def close(self, config: Mapping[str, Any]) -> None:
        self._run.config.update(dict(config), allow_val_change=True)
        self._run.finish()


class FollowedRun:
    """One rows.csv, of which each point is logged once, also if it is cut back to a checkpoint in between."""

    def __init__(self, path: Path, folder: Path, kind: type[TensorBoard] | type[Wandb]) -> None:
        self._path, self._folder, self._kind = path, folder, kind
        self._curve: TensorBoard | Wandb | None = None
        self._logged, self._size, self.done = 0, 0, False

    def update(self) -> None:
        """Log the points that are new; the last one may get more rows until the run is finished."""
        manifest, size = self._path.with_name("manifest.json"), self._path.stat().st_size
        finished = manifest.is_file()
        if size == self._size and not finished:
            return
        rows, self._size, self.done = read_rows(self._path), size, finished
        points = [part for _, part in rows.groupby(["phase", "env_steps", "updates"], sort=False)]
        for index in range(self._logged, len(points) - (not finished)):
            row = {str(key): value for key, value in points[index].iloc[0].items()}
            axis = "env_steps" if row["phase"] == "online" else "updates"
            self._curve = self._curve or self._kind(self._folder, self._path.parent.name, row, axis)
            values = dict(zip(points[index]["metric"], points[index]["value"], strict=True))
            self._curve.point(index, int(row[axis]), row, values)
            self._logged = index + 1
        if finished and self._curve is not None:
            self._curve.close(json.loads(manifest.read_text())["config"])


def follow(study: tyro.conf.Positional[Path], logger: tyro.conf.Positional[Logger]) -> None:
    """Log the runs of the study in a folder, as their rows come, until the standard input ends."""
    if not study.is_dir():
        raise UserError(f"{study}: is no folder; accepted: that of a study below --root, such as runs/sampling-mini")
    kind = Wandb if logger == "wandb" else TensorBoard
    runs: dict[Path, FollowedRun] = {}
    last = False
    while not last:
        last = bool(select.select([sys.stdin], [], [], POLL_SECONDS)[0]) and not sys.stdin.readline()
        for path in sorted(study.glob("runs/*/rows.csv")):
            run = runs.setdefault(path, FollowedRun(path, study / "logs" / logger, kind))
            if not run.done:
                run.update()


@contextmanager
def followed(study: Path, logger: Logger | None) -> Iterator[None]:
    """Follow a study while the block runs; its failing is a warning. UserError, before it: no such package."""
    if logger is None:
        yield
        return
    if importlib.util.find_spec(logger) is None:
        raise UserError(f"--log: {logger} is not installed; accepted: pip install -e '.[{logger}]', or no --log")
    log = study / "logs" / f"{logger}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-m", "moore.run.follow", str(study), logger)
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True)
    assert process.stdin is not None
    try:
        yield
    finally:
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(LAST_SECONDS)
        if process.poll() != 0:
            process.kill()
            again = f"again: `python -m moore.run.follow {study} {logger} < /dev/null`"
            print(f"moore: warning: --log {logger} ended early ({log}), the rows did not; {again}", file=sys.stderr)


if __name__ == "__main__":
    os.nice(10)
    try:
        tyro.cli(follow)
    except (UserError, ImportError) as error:
        print(f"moore: {error}", file=sys.stderr)
        sys.exit(UserError.exit_code)
