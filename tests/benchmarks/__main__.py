"""`python -m tests.benchmarks`: the report. Child processes import the main module again, except one of this name."""

import sys

import tyro

from moore.base.errors import UserError
from tests.benchmarks.bench import main

try:
    tyro.cli(main)
except UserError as error:
    print(f"moore: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
