"""`python -m tests.benchmarks bench|peers|slice`. Child processes import a main module again, except of this name."""

import os
import sys

import tyro

from moore.base.errors import UserError
from moore.run.units import KEEP_MEMORY
from tests.benchmarks import bench, peers, slice

if not KEEP_MEMORY.items() <= os.environ.items():  # as in the processes that train; read when a process starts
    os.execve(sys.executable, [sys.executable, "-m", "tests.benchmarks", *sys.argv[1:]], os.environ | KEEP_MEMORY)
try:
    tyro.extras.subcommand_cli_from_dict({"bench": bench.main, "peers": peers.main, "slice": slice.main})
except UserError as error:
    print(f"moore: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
