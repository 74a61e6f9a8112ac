"""24 runs of MOORe under random kills on a real Slurm end with the rows of a quiet run, bit for bit."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moore.run.units import UnitProcess
from tests.cluster.experiment import Experiment, same_rows
from tests.cluster.local_slurm import Cluster, kill

SETTINGS: dict[str, Any] = {
    "seeds": 4,
    "epochs": 8,
    "variants": {
        "prioritized": {},
        "uniform": {"sampling": {"model_batches": "uniform"}},
        "fewer_updates": {"online": {"utd_ratio": 3}},  # a cohort of its own, from the same offline stages
    },
    "datasets": ("self:pendulum-medium", "self:pendulum-low"),
    "profile": {"unit_runs": 2, "units_per_task": 2, "attempts": 20, "stalled_requeues": 20},
}
KINDS = ("process", "requeue", "cancel", "node")
KILLS = 14  # each kind first once
LONGEST_SECONDS = 480.0


class Chaos:
    """What happens to a study's tasks; every choice is the generator's."""

    def __init__(self, experiment: Experiment, choose: random.Random) -> None:
        self.experiment, self.slurm, self.choose = experiment, experiment.slurm, choose

    def process(self) -> bool:
        """SIGKILL for a unit's process."""
        pids = sorted(self.slurm.processes(command="moore.run.unit"))
        if pids:
            kill(self.choose.choice(pids))
        return bool(pids)

    def requeue(self) -> bool:
        """`scontrol requeue` of a task."""
        return self._on_element("scontrol", "requeue")

    def cancel(self) -> bool:
        """`scancel` of a task, running or waiting."""
        return self._on_element("scancel")

    def node(self) -> bool:
        """The power of a node fails, and is back at once."""
        running = self.slurm.running()
        if running:
            self.slurm.kill_node(self.choose.choice(running).node)
            self.slurm.start()
        return bool(running)

    def _on_element(self, *command: str) -> bool:
        elements = self.slurm.running() if command[0] == "scontrol" else self.slurm.queue()
        if elements:
            self.slurm.run(*command, self.choose.choice(elements).name)
        return bool(elements)


def test_chaos(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a kill, at whatever moment, loses, doubles or changes a row, or keeps a run from being finished."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CHAOS_SEED={seed}")
    choose = random.Random(seed)
    kills = choose.sample(KINDS, len(KINDS)) + choose.choices(KINDS, weights=(4, 3, 3, 1), k=KILLS - len(KINDS))
    done: list[str] = []
    experiment = Experiment(tmp_path / "disturbed", cluster(EXTRA_CONF="BatchStartTimeout=3"), **SETTINGS)
    assert len(experiment.study.runs) == 24
    chaos, end = Chaos(experiment, choose), time.monotonic() + LONGEST_SECONDS
    while missing := experiment.missing() if experiment.root.exists() else experiment.study.runs:
        assert time.monotonic() < end, f"{len(missing)} runs are not finished\n{experiment.told()}"
        experiment.submit()  # as a user would from time to time
        time.sleep(choose.uniform(1.0, 6.0))
        if len(done) < len(kills) and getattr(chaos, kills[len(done)])():
            done.append(kills[len(done)])
            print(f"{time.strftime('%H:%M:%S')} {done[-1]}, {len(missing)} runs left")
    assert set(done) == set(KINDS), "all was finished before the kills were"
    # an offline unit that was killed between two stages' rows goes on under another name: what it left means nothing
    left = [
        path.name.rsplit(".", 2)[0] for end in ("claim", "failed") for path in experiment.units.glob(f"*.{end}.json")
    ]
    assert all(UnitProcess.read(experiment.units / f"{name}.json").finished() for name in left), left
    quiet = Experiment(tmp_path / "quiet", **SETTINGS | {"profile": SETTINGS["profile"] | {"cpus": 2}})
    quiet.submit("--local")
    same_rows(experiment, quiet)
