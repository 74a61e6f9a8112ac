"""What `moore data ...` does; the command line itself is in moore/cli/data.py."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bar

from moore.base.errors import UserError
from moore.base.files import DATA_DIR
from moore.data.check import check_dataset, format_check
from moore.data.d4rl import expected_path
from moore.data.describe import describe_dataset
from moore.data.download import download_d4rl
from moore.data.export import export_minari, minari_name
from moore.data.hdf5 import Dataset, dataset_hash, write_dataset
from moore.data.ids import resolve
from moore.data.load import load_dataset, self_path
from moore.data.make import Progress
from moore.data.minari import download as download_minari
from moore.data.mismatch import REPLAY_ROWS

Choices = tuple[int | None, int, str | None]
"""Of a self-made set: transitions, seed, physics."""
ANY: Choices = (None, 0, None)


def make(id: str, choices: Choices = ANY, out: Path | None = None, data_dir: Path = DATA_DIR) -> Path:
    """Make a self-made set unless it is cached, print where it is, and write a copy to `out` if given."""
    path = self_path(resolve(id), data_dir, *choices)
    cached = path.is_file()
    begin = time.monotonic()
    dataset = _load(id, choices, data_dir)
    if out is not None:
        write_dataset(out, dataset)
        path = out
    how = "cached" if cached else f"made in {time.monotonic() - begin:.1f} s"
    print(f"{id}: {len(dataset)} rows in {path} ({how}, sha256 {dataset_hash(dataset)[:16]})")
    return path


def describe(id: str, choices: Choices = ANY, data_dir: Path = DATA_DIR) -> None:
    """Print what is in a dataset; a self-made one that does not exist yet is made first."""
    dataset = _load(id, choices, data_dir)
    quality = resolve(id).quality or str(dataset.metadata.get("quality"))
    print(describe_dataset(dataset, f"{id} (sha256 {dataset_hash(dataset)[:16]})", quality))


def check(id: str, physics: str | None = None, rows: int = REPLAY_ROWS, data_dir: Path = DATA_DIR) -> bool:
    """Print whether a dataset agrees with its physics and with itself; returns whether it does."""
    dataset = _load(id, ANY, data_dir)
    found = check_dataset(dataset, physics, rows)
    print(format_check(dataset, found, f"{id} (sha256 {dataset_hash(dataset)[:16]})"))
    return not found.faults


def download(ids: Sequence[str]) -> None:
    """Fetch the files that are not there yet, one after the other, and print where each one is.

    All ids are looked at before anything is fetched. Raises UserError at the first file that cannot be had.
    """
    accepted = "accepted: d4rl:ENV-QUALITY-v2, minari:NAMESPACE/NAME-vN"
    if not ids:
        raise UserError(f"no dataset id given; {accepted}")
    for dataset_id in map(resolve, ids):
        if dataset_id.source not in ("d4rl", "minari"):
            raise UserError(
                f"{dataset_id} is not a download; {accepted} (self: sets are made by `moore data make`, local: files"
                " are yours)"
            )
    for id in ids:
        if resolve(id).source == "minari":
            place, fetched = download_minari(id)
        else:
            with _progress(id) as show:
                place, fetched = expected_path(id), download_d4rl(id, show)
        print(f"{id}: in {place} ({'downloaded' if fetched else 'complete already'})", flush=True)


def export(id: str, name: str | None = None, choices: Choices = ANY, data_dir: Path = DATA_DIR) -> Path:
    """Write a dataset into the local Minari store and print where it is."""
    dataset_id = resolve(id)
    name = minari_name(dataset_id, name)  # before a set is made that could not be written
    dataset = _load(id, choices, data_dir)
    with _progress(id) as show:
        folder = export_minari(dataset, dataset_id, name, show)
    print(f"{id}: {len(dataset)} rows in {folder}; minari.load_dataset({name!r}) reads them")
    return folder


def _load(id: str, choices: Choices, data_dir: Path) -> Dataset:
    transitions, seed, physics = choices
    with _progress(id) as show:
        return load_dataset(id, data_dir, transitions=transitions, seed=seed, physics=physics, progress=show)


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """Show a bar while the block runs, on a terminal."""
    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)
