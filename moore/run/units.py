"""Units as processes of their own: how they are named, what they cost, how far they are, and how a study is cut."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.base.files import read_json, write_json
from moore.run.folders import is_finished
from moore.studies.estimate import counts
from moore.studies.identity import LONGEST, content_hash, offline_stages, run_id
from moore.studies.study import Study

PARENT = "MOORE_PARENT"  # number of the process without which a unit stops; not in its spec, which outlives it
# glibc returns large freed blocks at once, and every update pays for mapping them again: half of CQL's time
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


@dataclass(eq=False)
class UnitProcess:
    """One unit as a process of its own."""

    study: str
    runs: list[RunConfig]
    root: Path
    device: str
    name: str = ""  # by default one that says what is trained
    submission: str | None = None  # of a scheduler, which says that no other process has this unit

    def __post_init__(self) -> None:
        self.name = self.name or _name(self.runs)
        self.folder, self.runs_root = self.root / self.study / "units", self.root / self.study / "runs"
        self.spec_path = self.folder / f"{self.name}.json"  # what its process reads
        self.log_path = self.folder / f"{self.name}.log"  # what its processes said, one after the other
        self.progress_path = self.folder / f"{self.name}.progress.json"  # how far it is
        self.claim_path = self.folder / f"{self.name}.claim.json"  # who trains it
        self.failed_path = self.folder / f"{self.name}.failed.json"  # how its attempts failed
        self.split_path = self.folder / f"{self.name}.split.json"  # why it is trained as two halves from now on
        self.process: subprocess.Popen[bytes] | None = None
        self._finished = False  # once finished, the display need not look again

    @staticmethod
    def read(path: Path) -> UnitProcess:
        """Read the unit of a spec file. Raises UserError for a file that is not there or not one."""
        try:
            spec = json.loads(path.read_text())
            runs = [from_mapping(values, str(path)) for values in spec.pop("runs")]
            root = Path(spec["root"])
            return UnitProcess(spec["study"], runs, root, spec["device"], path.stem, spec["submission"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is not the spec of a unit ({error}); accepted: the same submit again") from None

    @property
    def cost(self) -> float:
        """Rough relative cost, to start long units first and to guess the time left."""
        run = self.runs[0]
        return sum(self._updates()) * run.agent.batch_size * sum(run.agent.hidden)

    def _updates(self) -> tuple[float, float]:
        """Return the updates of the offline and of the online stage, each as many of SAC's as it costs."""
        run, happens = self.runs[0], counts(self.runs[0])
        offline = happens.get(("offline", "policy updates"), 0) * len({(r.dataset, r.seed) for r in self.runs})
        online = happens.get(("online", "policy updates"), 0) * len(self.runs)
        return offline * _update_cost(run, "cql_coef"), online * _update_cost(run, "online_cql_coef")

    @property
    def running(self) -> bool:
        """Tell whether its process was there when it was last looked at."""
        return self.process is not None and self.process.returncode is None

    def missing_stages(self) -> set[str]:
        """Return the offline stages of this unit that have not been published yet, by run id."""
        stages = offline_stages(self.runs).items()
        return {name for name, config in stages if not is_finished(self.runs_root / name, config)}

    def finished(self) -> bool:
        """Tell whether every run has its rows and manifest. Raises UserError where they are of other settings."""
        self._finished = self._finished or all(is_finished(self.runs_root / run_id(run), run) for run in self.runs)
        return self._finished

    def checkpoint_folder(self, stage: str) -> Path:
        """Name the folder of a stage's checkpoints, or of rows that are not to be seen before it is finished."""
        return self.root / self.study / "checkpoints" / f"{self.name}.{stage}"

    def checkpoint_folders(self) -> list[Path]:
        """List the folders that are there of stages under way."""
        folders = (self.root / self.study / "checkpoints").glob("*")
        return [folder for folder in folders if folder.name.startswith(f"{self.name}.")]

    def checkpoint_count(self) -> int:
        numbers = [[int(path.stem) for path in folder.glob("*.pt")] for folder in self.checkpoint_folders()]
        return sum(1 + max(of_stage) for of_stage in numbers if of_stage)

    def forget_checkpoints(self) -> None:
        for folder in self.checkpoint_folders():
            shutil.rmtree(folder, ignore_errors=True)

    def halves(self) -> list[UnitProcess]:
        """Return the same runs as two units; a seed's runs stay together, as they share an offline stage."""
        runs = sorted(self.runs, key=lambda run: run.seed)
        seeds = sorted({run.seed for run in runs})
        first = seeds[: len(seeds) // 2]
        middle = sum(run.seed in first for run in runs) or len(runs) // 2
        return [UnitProcess(self.study, part, self.root, self.device) for part in (runs[:middle], runs[middle:])]

    def split(self, reason: str) -> list[UnitProcess]:
        """Train it as two halves from now on; returns them."""
        write_json(self.split_path, {"reason": reason})
        return self.halves()

    def parts(self) -> list[UnitProcess]:
        """Return itself, or what it has been split into."""
        if len(self.runs) == 1 or not self.split_path.exists():
            return [self]
        return [part for half in self.halves() for part in half.parts()]

    def write_spec(self) -> None:
        spec = {"study": self.study, "device": self.device, "submission": self.submission, "root": str(self.root)}
        write_json(self.spec_path, spec | {"runs": [to_mapping(run) for run in self.runs]})

    def start(self, submission: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Start the process; the unit continues from its checkpoint if there is one."""
        self.process, self.submission = None, submission  # an earlier attempt's process says nothing of this one
        self.write_spec()
        # one thread for each process: two oversubscribed torch processes are ten times slower
        own = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", PARENT: str(os.getpid())}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moore.run.unit", str(self.spec_path)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | own | KEEP_MEMORY | dict(environment or {}),
                start_new_session=True,
            )

    def status(self) -> dict[str, Any]:
        return read_json(self.progress_path)

    def failure(self) -> dict[str, Any]:
        return read_json(self.failed_path)

    def progress(self) -> float:
        """Return the share of the unit that is done, by the cost of its stages."""
        if self.finished():
            return 1.0
        status = self.status()
        within = float(status.get("done", 0)) / max(1, status.get("total", 1))
        offline, online = self._updates()
        share = offline / max(1.0, offline + online)
        return share + (1 - share) * within if str(status.get("label", "")).startswith("online") else share * within


def study_units(study: Study, root: Path, device: str, live: Collection[str] = ()) -> list[UnitProcess]:
    """Cut a study into units: its cohorts, or what a larger study adds to them, halved where they did not fit.

    live: ids of runs that somebody trains; they are in no unit. One of which all runs are finished is there, too.
    """
    cohorts = [UnitProcess(study.name, runs, root, device) for runs in study.cohorts(device)]
    return [unit for cohort in cohorts for unit in _units(cohort, live)]


def _units(cohort: UnitProcess, live: Collection[str]) -> Iterator[UnitProcess]:
    for whole in cohort.parts():
        rest = [run for run in whole.runs if not is_finished(whole.runs_root / run_id(run), run)]
        free = [run for run in rest if run_id(run) not in live]
        begun = len(free) == len(rest) and bool(whole.checkpoint_folders())  # and killed between two manifests, maybe
        if not rest or len(free) == len(whole.runs) or begun:
            yield whole
        elif free:
            yield from _units(UnitProcess(whole.study, free, whole.root, whole.device), live)


def _name(runs: list[RunConfig]) -> str:
    """Return a readable name that is unique for what is trained."""
    methods = list(dict.fromkeys(run.method for run in runs))
    which = "+".join(methods) if len(methods) < 4 else f"{len(methods)}-methods"
    of_one = len({run.dataset for run in runs}) == 1
    label = f"{(of_one and runs[0].dataset) or runs[0].env}-{which}".replace(":", "-").replace("/", "-")
    return f"{label[:LONGEST]}-{content_hash([to_mapping(run) for run in runs])[:8]}"


def _update_cost(run: RunConfig, cql_coef: str) -> float:
    """Estimate the arithmetic of an update relative to SAC's, roughly; a model about doubles it."""
    conservative = 1.2 * run.agent.num_actions if getattr(run.agent, cql_coef, 0.0) else 0.0
    agents = getattr(run.agent, "num_agents", run.agent.num_critics / 2)
    return (2.0 if run.uses_model else 1.0) * (1.0 + conservative) * agents
