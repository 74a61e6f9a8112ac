"""`python -m analysis.run_notebooks [FILE ...]`: executes analysis/notebooks, or these files, into build/notebooks.

Exit code 1 if a cell fails; the notebook with the error is written all the same. Needs the extra `dev`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from analysis.rows import RESULTS

SOURCES = Path(__file__).parent / "notebooks"
TIMEOUT = 600  # seconds a cell may take


def execute(source: Path, target: Path, results: Path) -> str:
    """Run one notebook on the studies in `results`; returns the error of the cell that failed, or nothing."""
    notebook = jupytext.read(source)
    with tempfile.TemporaryDirectory() as folder:
        # sockets in a folder of its own: TCP ones are open to everyone on the machine
        kernel = AsyncKernelManager(transport="ipc", ip=f"{folder}/kernel")
        client = NotebookClient(notebook, km=kernel, timeout=TIMEOUT, resources={"metadata": {"path": folder}})
        try:
            client.execute(env={**os.environ, "MOORE_RESULTS": str(results.resolve())})
        except CellExecutionError as error:
            return str(error)
        finally:
            nbformat.write(notebook, target)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    description = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m analysis.run_notebooks", description=description)
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="FILE", help="default: all of analysis/notebooks")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results root")
    parser.add_argument("--out", type=Path, default=Path("build/notebooks"), help="folder of the executed notebooks")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for source in options.notebooks or sorted(SOURCES.glob("*.py")):
        target = options.out / f"{source.stem}.ipynb"
        error = execute(source, target, options.results)
        print(f"{target}: {'failed' if error else 'executed'}", flush=True)
        if error:
            print(error, file=sys.stderr)
            failed += 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
