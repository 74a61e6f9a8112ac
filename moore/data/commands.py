"""What `moore data ...` does; the command line itself is in moore/cli/data.py."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from moore.base.errors import UserError
from moore.base.files import DATA_DIR
from moore.data.check import check_dataset, format_check
from moore.data.d4rl import FILES, expected_path
from moore.data.describe import describe_dataset, format_description
from moore.data.download import download_d4rl
from moore.data.export import export_minari, minari_name
from moore.data.hdf5 import dataset_hash, write_dataset
from moore.data.ids import resolve
from moore.data.load import load_dataset, self_path
from moore.data.make import Progress
from moore.data.minari import download as download_minari
from moore.data.mismatch import REPLAY_ROWS


def make(
    id: str,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    out: Path | None = None,
    data_dir: Path = DATA_DIR,
) -> Path:
    """Make a self-made set unless it is cached, print where it is, and write a copy to `out` if given."""
    path = self_path(resolve(id), data_dir, transitions, seed, physics)
    cached = path.is_file()
    begin = time.monotonic()
    dataset = load_dataset(id, data_dir, transitions=transitions, seed=seed, physics=physics, progress=_progress())
    if out is not None:
        write_dataset(out, dataset)
        path = out
    how = "cached" if cached else f"made in {time.monotonic() - begin:.1f} s"
    print(f"{id}: {len(dataset)} rows in {path} ({how}, sha256 {dataset_hash(dataset)[:16]})")
    return path


def describe(
    id: str,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    data_dir: Path = DATA_DIR,
) -> None:
    """Print what is in a dataset; a self-made one that does not exist yet is made first; the options are `make`'s."""
    dataset = load_dataset(id, data_dir, transitions=transitions, seed=seed, physics=physics, progress=_progress())
    facts = describe_dataset(dataset, resolve(id).quality or _quality(dataset.metadata.get("quality")))
    print(format_description(facts, f"{id} (sha256 {dataset_hash(dataset)[:16]})"))


def check(id: str, physics: str | None = None, rows: int = REPLAY_ROWS, data_dir: Path = DATA_DIR) -> bool:
    """Print whether a dataset agrees with its physics and with itself; returns whether it does."""
    dataset = load_dataset(id, data_dir, progress=_progress())
    found = check_dataset(dataset, physics, rows)
    print(format_check(found, f"{id} (sha256 {dataset_hash(dataset)[:16]})"))
    return not found.faults


def download(ids: Sequence[str]) -> None:
    """Fetch the files that are not there yet, one after the other, and print where each one is.

    All ids are looked at before anything is fetched. Raises UserError at the first file that cannot be had.
    """
    if not ids:
        raise UserError("no dataset id given; accepted: one or more of d4rl:ENV-QUALITY-v2, minari:NAMESPACE/NAME-vN")
    for dataset_id in map(resolve, ids):
        if dataset_id.source not in ("d4rl", "minari"):
            raise UserError(
                f"{dataset_id} is not a download; accepted: d4rl:ENV-QUALITY-v2, minari:NAMESPACE/NAME-vN"
                " (self: sets are made by `moore data make`, local: files are yours)"
            )
    for id in ids:
        if resolve(id).source == "minari":
            folder, fetched = download_minari(id)
            print(f"{id}: in {folder} ({'downloaded' if fetched else 'complete already'})", flush=True)
        else:
            _download_d4rl(id)


def export(
    id: str,
    name: str | None = None,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    data_dir: Path = DATA_DIR,
) -> Path:
    """Write a dataset into the local Minari store and print where it is; the options beside `name` are `make`'s."""
    dataset_id = resolve(id)
    name = minari_name(dataset_id, name)  # before a set is made that could not be written
    dataset = load_dataset(id, data_dir, transitions=transitions, seed=seed, physics=physics, progress=_progress())
    folder = export_minari(dataset, dataset_id, name, _progress())
    print(f"{id}: {len(dataset)} rows in {folder}; minari.load_dataset({name!r}) reads them")
    return folder


def _download_d4rl(id: str) -> None:
    name, size, sha256 = FILES[id]
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=size)

        def show(done: int, trouble: str) -> None:
            bar.update(task, completed=done, description=trouble or name)

        fetched = download_d4rl(id, show)
    how = "downloaded" if fetched else "complete already"
    print(f"{id}: {size / 1e6:.1f} MB in {expected_path(id)} ({how}, sha256 {sha256[:16]})", flush=True)


def _quality(recorded: object) -> str | None:
    return recorded if isinstance(recorded, str) else None


def _progress() -> Progress | None:
    return _show if sys.stderr.isatty() else None


def _show(rows: int, all_rows: int) -> None:
    print(f"\r{rows} of {all_rows} rows", end="\n" if rows >= all_rows else "", file=sys.stderr, flush=True)
