"""Writing a dataset where it cannot be written: one line, no half file, and the old one stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moore.base.errors import UserError
from moore.data.hdf5 import read_dataset, write_dataset
from moore.data.make import make_self_dataset

FULL = """
import resource, signal, sys
from moore.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.exit(main(["data", "make", "self:pendulum-random", "--transitions", "2000", "--data-dir", sys.argv[1]]))
"""


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    """Breaks if a folder where the file should be ends in a traceback or leaves something behind."""
    dataset = make_self_dataset("pendulum", "random", 20)
    (tmp_path / "taken.hdf5").mkdir()
    with pytest.raises(UserError, match=r"taken\.hdf5: cannot be written"):
        write_dataset(tmp_path / "taken.hdf5", dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.hdf5"]


def test_no_room(tmp_path: Path) -> None:
    """Breaks if a file that stops growing, as on a full disk, crashes the process, or half of it stays."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line
    assert str(tmp_path) in line
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_the_old_file_stays_readable(tmp_path: Path) -> None:
    """Breaks if writing again is not a replacement."""
    path = tmp_path / "set.hdf5"
    for rows in (20, 30):
        write_dataset(path, make_self_dataset("pendulum", "random", rows))
        assert len(read_dataset(path)) == rows
    assert [found.name for found in tmp_path.iterdir()] == ["set.hdf5"]
