"""Units are halved where there would be fewer of them than places to train them."""

from pathlib import Path

import pytest

from moore.run.local import use_all
from moore.run.units import UnitProcess
from moore.studies.identity import offline_run_id, run_id
from tests.support.core import tiny


def units(root: Path, seeds: int, variants: int) -> list[UnitProcess]:
    """One unit of so many variants with so many seeds."""
    rates = [{"decay_rate": float(1 + variant)} for variant in range(variants)]
    runs = [tiny(dataset="self:pendulum-medium", seed=seed, sampling=rate) for rate in rates for seed in range(seeds)]
    return [UnitProcess("toy", runs, root, "cpu")]


@pytest.mark.parametrize(("seeds", "slots", "expected"), [(5, 1, 1), (5, 2, 2), (5, 4, 4), (5, 32, 5), (1, 8, 1)])
def test_a_sweep_of_one_task_uses_all_places(tmp_path: Path, seeds: int, slots: int, expected: int) -> None:
    """Breaks if places stay empty, a run is lost or doubled, or two units wait for the offline stage of one seed."""
    whole = units(tmp_path, seeds, 3)
    runs = whole[0].runs
    found = use_all(whole, slots)
    assert len(found) == expected
    assert sorted(run_id(run) for unit in found for run in unit.runs) == sorted(map(run_id, runs))
    stages = [{offline_run_id(run) for run in unit.runs} for unit in found]
    assert sum(map(len, stages)) == len(set.union(*stages))


def test_what_has_begun_stays_whole(tmp_path: Path) -> None:
    """Breaks if a checkpoint is thrown away because more cores are there than when it was written."""
    (whole,) = units(tmp_path, 4, 2)
    whole.checkpoint_folder("offline").mkdir(parents=True)
    assert use_all([whole], 2) == [whole]
