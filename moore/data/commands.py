"""What `moore data ...` does; the command line itself is in moore/cli.py."""

import sys
import time
from pathlib import Path

from moore.data.describe import describe_dataset, format_description
from moore.data.hdf5 import dataset_hash, write_dataset
from moore.data.ids import resolve
from moore.data.load import DATA_DIR, load_dataset, self_path
from moore.data.make import Progress


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


def describe(id: str, data_dir: Path = DATA_DIR) -> None:
    """Print what is in a dataset; a self-made one that does not exist yet is made first, with its default size."""
    dataset = load_dataset(id, data_dir, progress=_progress())
    facts = describe_dataset(dataset, resolve(id).quality or _quality(dataset.metadata.get("quality")))
    print(format_description(facts, f"{id} (sha256 {dataset_hash(dataset)[:16]})"))


def _quality(recorded: object) -> str | None:
    return recorded if isinstance(recorded, str) else None


def _progress() -> Progress | None:
    return _show if sys.stderr.isatty() else None


def _show(rows: int, all_rows: int) -> None:
    print(f"\r{rows} of {all_rows} rows", end="\n" if rows >= all_rows else "", file=sys.stderr, flush=True)
