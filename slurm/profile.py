"""What a job of a cluster gets and how it uses it: a YAML file of the user's, see slurm/profiles/ for every key."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from moore.base.errors import UserError
from moore.base.strict import Count, NonNegativeInt

PROFILES = Path(__file__).parent / "profiles"
EARLY_SECONDS = 60  # sbatch's --signal may come this much before its time (man sbatch)
MOST_SIGNAL_SECONDS = 65535  # sbatch's limit for --signal
TIME = r"([0-9]{1,9}-)?[0-9]{1,9}(:[0-9]{1,9}){0,2}"
TIME_FORMS = '"90" (minutes), "90:00" (minutes:seconds), "1:30:00", "2-12" (days-hours), "2-12:30", "2-12:30:00"'
# options of sbatch that keys of a profile or the launcher set, and those with which it would lose sight of its jobs
SET_ELSEWHERE = (
    "partition", "account", "qos", "time", "constraint", "cpus-per-task", "mem", "gpus", "gres", "gpus-per-node",
    "gpus-per-task", "gpus-per-socket", "array", "signal", "wrap", "comment", "output", "error", "open-mode", "requeue",
    "no-requeue", "job-name", "dependency", "nodes", "ntasks", "ntasks-per-node", "chdir", "clusters", "parsable",
    "quiet", "test-only", "wait", "help", "usage", "version",
)  # fmt: skip


def _matching(pattern: str, expected: str) -> AfterValidator:
    """Accept a text that matches `pattern`."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # a number as written
Time = Annotated[Text, _matching(TIME, f"{TIME_FORMS}; no other limit, as tasks write checkpoints before it")]
Word = Annotated[Text, _matching(r"[^\s'\"]+", "one word, or null")]
Line = Annotated[Text, _matching(r"(?=.*\S)[^\x00-\x1f]+", "one line of text, or null")]
# sbatch takes a bare number as megabytes, which is seldom what was meant
Size = Annotated[Text, _matching(r"0*[1-9][0-9]{0,8}[KMGTkmgt]", 'a whole number above 0 with K, M, G or T: "8G"')]
SetupLine = Annotated[Text, _matching(r"(?!\s*#SBATCH)[^\n]*", "a line of bash; options go under `sbatch`")]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Profile:
    """What one array task gets and how it uses it; the files in slurm/profiles/ say what every key means.

    Raises UserError, naming the key, for values that contradict each other.
    """

    time: Time  # as sbatch takes it
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    cpus: Count = 1
    memory: Size | None = None
    gpus: NonNegativeInt = 0
    gpu_type: Word | None = None
    parallel: Count | None = None
    setup: list[SetupLine] = Field(default_factory=list)
    python: Line | None = None
    sbatch: dict[str, str | int | Literal[True]] = Field(default_factory=dict)
    units_per_task: Count = 1
    slots: Count | None = None
    units_per_gpu: Count = 1
    unit_runs: Count | None = None
    attempts: Count = 2
    signal_seconds: Annotated[int, Field(ge=1, le=MOST_SIGNAL_SECONDS)] = 120
    stalled_requeues: NonNegativeInt = 3

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.gpus:
            _check(self.gpu_type is None, "gpu_type", self.gpu_type, "null, or gpus: 1 or more")
            _check(self.units_per_gpu == 1, "units_per_gpu", self.units_per_gpu, "1, or gpus: 1 or more")
        else:
            most = self.gpus * self.units_per_gpu
            _check(self.slot_count <= most, "slots", self.slots, f"gpus * units_per_gpu = {most} at most")
        for name, value in self.sbatch.items():
            where, given = f"sbatch.{name}", str(value)
            _check(re.fullmatch(r"[a-z][a-z-]+", name), where, value, "long names without --, such as mail-type")
            # sbatch takes beginnings of names for the names
            ours = [option for option in SET_ELSEWHERE if option.startswith(name)]
            _check(not ours, where, value, "what no key of the profile and not the launcher sets")
            twice = self.memory is not None and name.startswith("mem-per-")
            _check(not twice, where, value, "either this or `memory`")
            _check(given.strip() and given.isprintable(), where, value, "text, a whole number, or true")
        least = self.signal_seconds + EARLY_SECONDS
        if 60 * self.minutes <= least:
            accepted = f"more than signal_seconds + {EARLY_SECONDS} = {least} seconds, as the warning may come early"
            raise UserError(f"time: {self.time!r} is {self.minutes} minutes to sbatch; accepted: {accepted}")
        return self

    @property
    def minutes(self) -> int:
        """The time limit in minutes, rounded up as Slurm does."""
        days, dash, clock = self.time.rpartition("-")
        numbers = [int(part) for part in clock.split(":")]
        hours_first = dash or len(numbers) == 3
        hours, minutes, seconds = (*numbers, 0, 0)[:3] if hours_first else (0, *numbers, 0)[:3]
        return (int(days or 0) * 24 + hours) * 60 + minutes + (seconds + 59) // 60

    @property
    def gres(self) -> str | None:
        """sbatch's --gres: gpu:<count> or gpu:<type>:<count>; None without GPUs."""
        return ":".join(filter(None, ("gpu", self.gpu_type, str(self.gpus)))) if self.gpus else None

    @property
    def torch_device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    @property
    def slot_count(self) -> int:
        return self.slots or (self.gpus * self.units_per_gpu if self.gpus else self.cpus)


def _check(fine: Any, key: str, value: Any, accepted: str) -> None:
    if not fine:
        raise UserError(f"{key}: {value!r} is not accepted; accepted: {accepted}")
