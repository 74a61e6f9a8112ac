"""What the data commands' options are where none is given; apart, as the command line reads it before anything else."""

from pathlib import Path

DATA_DIR = Path("runs/data")  # of self-made sets and converted ones
REPLAY_ROWS = 2000  # of a set, replayed one step to find its physics
