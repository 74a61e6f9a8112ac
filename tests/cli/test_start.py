"""What `moore` imports before it knows what is asked of it."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "pandas", "numpy", "mujoco", "gymnasium", "scipy", "matplotlib", "h5py", "pyarrow", "submitit")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "reproduce"),
        (["study", "--help"], 0, "submit"),
        (["data", "--help"], 0, "download"),
        (["data", "check", "--help"], 0, "2000"),  # a default that belongs to what is heavy
        (["reproduced"], 2, "reproduced"),
        (["study", "show"], 2, "STUDY"),
        (["reproduce", "--workers", "-1"], 2, "--workers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_and_bad_commands_import_nothing_heavy(words: list[str], code: int, said: str) -> None:
    """Breaks if a module that the command line imports at its top imports torch, MuJoCo, pandas or the like."""
    script = (
        "import sys\n"
        "from moore.cli.main import main\n"
        "try:\n"
        f"    code = main({words!r})\n"
        "except SystemExit as end:\n"  # the option parser's
        "    code = end.code\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('imported', *found)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "imported", done.stdout.splitlines()[-1]
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
