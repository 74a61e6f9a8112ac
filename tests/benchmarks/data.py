"""Speed and memory of the data layer at a million rows: making, writing, reading, transitions.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.data --out tests/benchmarks/results

The file has hopper's shape and real content: `self:hopper-medium`, simulated here. It is read as `write_dataset` wrote
it and with D4RL's own filters (gzip without shuffling). Next to our transitions stands d4rl's loop over rows. Wall and
processor time are both given: other jobs on the machine distort the former.
"""

from __future__ import annotations

import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import tyro

from moore.base.machine import available_cores, short
from moore.data.hdf5 import Dataset, read_dataset, write_dataset
from moore.data.make import make_self_dataset
from moore.data.transitions import Transitions, to_transitions
from tests.benchmarks.report import report_facts, write_report
from tests.benchmarks.speed import Timing, measure

ARRAYS = (
    "observations",
    "next_observations",
    "actions",
    "rewards",
    "terminals",
    "timeouts",
    "infos/qpos",
    "infos/qvel",
)


def once(call: Callable[[], object]) -> Timing:
    """Time one call, for what is too long to repeat."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def array_bytes(*holders: Dataset | Transitions) -> int:
    """Bytes of the arrays of datasets and transitions together, shared ones once."""
    arrays = [value for holder in holders for value in vars(holder).values() if isinstance(value, np.ndarray)]
    owners = {id(a if a.base is None else a.base): a if a.base is None else a.base for a in arrays}
    return sum(owner.nbytes for owner in owners.values())


def peak_share(load: Callable[[], tuple[Dataset | Transitions, ...]]) -> tuple[int, float]:
    """Bytes of the arrays that `load` returns, and its peak of memory held by Python and NumPy over them."""
    tracemalloc.start()
    kept = array_bytes(*load())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return kept, peak / kept


def qlearning_dataset(dataset: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What d4rl.qlearning_dataset (d4rl 1.1, terminate_on_end=False) does, row by row, without its environment."""
    obs, next_obs, action, reward, done = [], [], [], [], []
    for i in range(dataset["rewards"].shape[0] - 1):
        row = dataset["observations"][i].astype(np.float32)
        next_row = dataset["observations"][i + 1].astype(np.float32)
        row_action = dataset["actions"][i].astype(np.float32)
        row_reward = dataset["rewards"][i].astype(np.float32)
        row_done = bool(dataset["terminals"][i])
        if dataset["timeouts"][i]:
            continue
        obs.append(row)
        next_obs.append(next_row)
        action.append(row_action)
        reward.append(row_reward)
        done.append(row_done)
    return {
        "obs": np.array(obs),
        "action": np.array(action),
        "reward": np.array(reward),
        "next_obs": np.array(next_obs),
        "terminated": np.array(done),
    }


def with_d4rl_filters(source: Path, target: Path) -> None:
    """The same arrays, compressed as in D4RL's files (scripts/generation/mujoco/convert_buffer.py)."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for key in ARRAYS:
            new.create_dataset(key, data=old[key][()], compression="gzip")
        new["metadata/env"] = old["metadata/env"][()]


def generation(env: str, rows: int, threads: int) -> tuple[Dataset, dict[str, Any]]:
    """`self:<env>-medium` simulated with so many threads for the physics (a policy always has one)."""
    torch.set_num_threads(threads)
    made: list[Dataset] = []
    timing = once(lambda: made.append(make_self_dataset(env, "medium", rows)))
    torch.set_num_threads(1)
    return made[0], {"what": f"make {env}-medium", "threads": threads, "rows": rows, **seconds(timing)}


def seconds(timing: Timing) -> dict[str, float]:
    """Its columns."""
    return {"wall": timing.wall, "cpu": timing.cpu}


def loading(path: Path, label: str, repeat: float) -> Iterator[dict[str, Any]]:
    """Reading alone, then with the transitions by either rule: time, and peak memory over what is kept."""

    def ours(keep_timeouts: bool) -> tuple[Dataset, Transitions]:
        dataset = read_dataset(path)
        return dataset, to_transitions(dataset, keep_timeouts)

    rows = len(read_dataset(path))
    loads: dict[str, Callable[[], tuple[Dataset | Transitions, ...]]] = {
        "read": lambda: (read_dataset(path),),
        "read + transitions, stored next_obs": lambda: ours(True),
        "read + transitions, d4rl's rule": lambda: ours(False),
    }
    for what, load in loads.items():
        kept, share = peak_share(load)
        timing = measure(load, repeat)
        yield {"what": f"{what} ({label})", "rows": rows, **seconds(timing), "kept_mb": kept / 1e6, "peak_share": share}


def comparison(path: Path, repeat: float) -> Iterator[dict[str, Any]]:
    """Our transitions and d4rl's loop on arrays in memory; they must be the same numbers."""
    dataset = read_dataset(path)
    raw = {
        "observations": dataset.obs,
        "actions": dataset.action,
        "rewards": dataset.reward,
        "terminals": dataset.terminated,
        "timeouts": dataset.truncated,
    }
    timing = measure(lambda: to_transitions(dataset), repeat)
    yield {"what": "transitions, d4rl's rule", "rows": len(dataset), **seconds(timing)}
    loops: list[dict[str, np.ndarray]] = []
    timing = once(lambda: loops.append(qlearning_dataset(raw)))
    yield {"what": "d4rl's loop", "rows": len(dataset), **seconds(timing)}
    ours = to_transitions(dataset)
    for name, values in loops[0].items():
        assert np.array_equal(getattr(ours, name), values), name


def measurements(rows: int, generated: int, repeat: float) -> Iterator[dict[str, Any]]:
    """One row for each measurement."""
    for env in ("hopper", "halfcheetah", "walker2d"):
        for threads in sorted({1, available_cores()}):
            yield generation(env, generated, threads)[1]
    kept, share = peak_share(lambda: (make_self_dataset("hopper", "medium", generated),))
    yield {"what": "make hopper-medium, memory", "rows": generated, "kept_mb": kept / 1e6, "peak_share": share}
    with tempfile.TemporaryDirectory() as folder:
        own, d4rl = Path(folder) / "own.hdf5", Path(folder) / "d4rl.hdf5"
        dataset, row = generation("hopper", rows, available_cores())
        yield row
        timing = once(lambda: write_dataset(own, dataset))
        yield {"what": "write", "rows": rows, **seconds(timing), "file_mb": own.stat().st_size / 1e6}
        with_d4rl_filters(own, d4rl)
        for path, label in ((own, "own file"), (d4rl, "D4RL's filters")):
            yield from loading(path, label, repeat)
        yield from comparison(own, repeat)


def line(row: dict[str, Any]) -> list[str]:
    """The cells of a measurement."""
    rate = f"{row['rows'] / row['wall']:,.0f}" if "wall" in row else ""
    per_row = f"{1e6 * row['cpu'] / row['rows']:.3g}" if "cpu" in row else ""
    times = [f"{row[key]:.3g}" if key in row else "" for key in ("wall", "cpu")]
    memory = [f"{row['kept_mb']:.0f}", f"{row['peak_share']:.2f}"] if "kept_mb" in row else ["", ""]
    return [row["what"], str(row.get("threads", "")), f"{row['rows']:,}", *times, rate, per_row, *memory]


def markdown(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The report as a table."""
    columns = ["what", "threads", "rows", "wall s", "CPU s", "rows/s", "CPU us/row", "kept MB", "peak/kept"]
    lines = [
        f"# The data layer on {facts['machine']}",
        "",
        f"{facts['date']}, load {facts['load_before']:.1f} before and {facts['load_after']:.1f} after, h5py "
        f"{facts['h5py']}, Python {facts['python']}, commit {short(facts['git_commit'])}. Files are in the page cache. "
        "Best of several for reading and transitions, once for the rest. peak/kept: the most memory that Python and "
        "NumPy held at a time over the bytes of the arrays that stay.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(line(row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main(out: Path | None = None, rows: int = 1_000_000, generated: int = 100_000, repeat: float = 5.0) -> None:
    """Print the report; with --out, write data.md and data.json there.

    rows: of the file; generated: of the datasets made for their speed; repeat: seconds for each repeated measurement.
    """
    load = os.getloadavg()[0]
    found = []
    for row in measurements(rows, generated, repeat):
        cells = line(row)
        print(f"{cells[0]:>52} {cells[1]:>2} {cells[2]:>10} rows", *(f"{cell:>9}" for cell in cells[3:]), flush=True)
        found.append(row)
    facts = report_facts(load, h5py=h5py.__version__)
    write_report(out, "data", facts, found, markdown(facts, found))


if __name__ == "__main__":
    tyro.cli(main)
