"""What a job of a cluster gets and how it uses it: a YAML file of the user's, see slurm/profiles/ for every key."""

from __future__ import annotations

import difflib
import os
import re
import string
import typing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from moore.base.errors import UserError

EARLY_SECONDS = 60  # sbatch's --signal may come this much before its time (man sbatch)
MOST_SIGNAL_SECONDS = 65535  # sbatch's limit for --signal
TIME_FORMS = '"90" (minutes), "90:00" (minutes:seconds), "1:30:00", "2-12" (days-hours), "2-12:30", "2-12:30:00"'
LEAST = {
    **dict.fromkeys(("cpus", "parallel", "cohorts_per_task", "slots", "cohorts_per_gpu", "cohort_runs", "attempts"), 1),
    **{"gpus": 0, "signal_seconds": 1, "stalled_requeues": 0},
}
WORDS = ("partition", "account", "qos", "gpu_type", "constraint")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}  # sbatch's: powers of 1024

# options of sbatch that keys of a profile stand for
KEY_OF_OPTION = {option: option for option in ("partition", "account", "qos", "time", "constraint")} | {
    "cpus-per-task": "cpus",
    "mem": "memory",
    **dict.fromkeys(("gpus", "gres", "gpus-per-node", "gpus-per-task", "gpus-per-socket"), "gpus"),
    "array": "parallel",
    "signal": "signal_seconds",
    "wrap": "setup",
}
# options that the launcher sets, and those with which it would lose sight of its jobs
OF_THE_LAUNCHER = (
    "comment", "output", "error", "open-mode", "requeue", "no-requeue", "job-name", "dependency", "nodes", "ntasks",
    "ntasks-per-node", "chdir", "clusters", "parsable", "quiet", "test-only", "wait", "help", "usage", "version",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What one array task gets and how it uses it; the files in slurm/profiles/ say what every key means.

    Raises UserError, naming the key, for values that sbatch would refuse in any cluster or that contradict each other.
    """

    time: str  # as sbatch takes it
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus: int = 1
    memory: str | None = None
    gpus: int = 0
    gpu_type: str | None = None
    parallel: int | None = None
    setup: list[str] = field(default_factory=list)
    python: str | None = None
    scratch: str | None = None
    sbatch: dict[str, str | int | bool] = field(default_factory=dict)
    device: str | None = None
    cohorts_per_task: int = 1
    slots: int | None = None
    cohorts_per_gpu: int = 1
    cohort_runs: int | None = None
    gpu_memory: str | None = None
    attempts: int = 2
    signal_seconds: int = 120
    stalled_requeues: int = 3

    def __post_init__(self) -> None:
        for key, least in LEAST.items():
            value = getattr(self, key)
            _check(value is None or value >= least, key, value, f"{least} or more")
        for key in WORDS:
            value = getattr(self, key)
            _check(value is None or re.fullmatch(r"[^\s'\"]+", value), key, value, "one word, or null")
        for key in ("python", "scratch"):
            value = getattr(self, key)
            _check(value is None or (value.strip() and value.isprintable()), key, value, "one line of text, or null")
        _check(self.device in (None, "cpu", "cuda"), "device", self.device, "cpu, cuda, or null: cuda where gpus are")
        _check(self.device != "cuda" or self.gpus, "device", self.device, "cuda with gpus: 1 or more, or cpu")
        for key in ("gpu_type", "gpu_memory"):
            value = getattr(self, key)
            _check(value is None or self.gpus, key, value, "null, or gpus: 1 or more")
        _check(self.cohorts_per_gpu == 1 or self.gpus, "cohorts_per_gpu", self.cohorts_per_gpu, "1, or gpus: 1 or more")
        most = self.gpus * self.cohorts_per_gpu
        _check(
            not self.gpus or self.slot_count <= most, "slots", self.slots, f"gpus * cohorts_per_gpu = {most} at most"
        )
        for key in ("memory", "gpu_memory"):
            if getattr(self, key) is not None:
                _bytes(key, getattr(self, key))
        for line in self.setup:
            _check(not line.lstrip().startswith("#SBATCH"), "setup", line, "lines of bash; options go under `sbatch`")
        for name, value in self.sbatch.items():
            _check_option(name, value, self.memory is not None)
        self._check_time()

    def _check_time(self) -> None:
        minutes, seconds = self.minutes, self.signal_seconds
        _check(seconds <= MOST_SIGNAL_SECONDS, "signal_seconds", seconds, f"{MOST_SIGNAL_SECONDS} or less")
        if seconds + EARLY_SECONDS >= 60 * minutes:
            raise UserError(
                f"time: {self.time!r} is {minutes} minutes to sbatch; accepted: more than signal_seconds ({seconds}) +"
                f" {EARLY_SECONDS} seconds, as the warning may come {EARLY_SECONDS} s early, in one of {TIME_FORMS}"
            )

    @property
    def minutes(self) -> int:
        """The time limit in minutes, rounded up as Slurm does."""
        return -(-_seconds(self.time) // 60)

    @property
    def memory_bytes(self) -> int | None:
        """Main memory of a task in bytes, if asked for."""
        return None if self.memory is None else _bytes("memory", self.memory)

    @property
    def gpu_memory_bytes(self) -> int | None:
        """Memory of one GPU in bytes, if the profile says so."""
        return None if self.gpu_memory is None else _bytes("gpu_memory", self.gpu_memory)

    @property
    def gres(self) -> str | None:
        """sbatch's --gres: gpu:<count> or gpu:<type>:<count>; None without GPUs."""
        return ":".join(filter(None, ("gpu", self.gpu_type, str(self.gpus)))) if self.gpus else None

    @property
    def torch_device(self) -> str:
        """Where cohorts are trained: cpu or cuda."""
        return self.device or ("cuda" if self.gpus else "cpu")

    @property
    def slot_count(self) -> int:
        """Cohorts that a task trains at once."""
        return self.slots or (self.gpus * self.cohorts_per_gpu if self.gpus else self.cpus)


def load_profile(path: Path) -> Profile:
    """Read a profile; variables and ~ in `scratch` are those of this process.

    Raises UserError naming the file, the key and what is accepted: no such file, not YAML, unknown or missing keys,
    wrong types, values out of range, contradictions.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; accepted: a YAML file, such as those in slurm/profiles/") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as YAML ({reason}); accepted: lines of `key: value`") from None
    hints = typing.get_type_hints(Profile)
    accepted = f"accepted: {', '.join(hints)}"
    if not isinstance(values, dict):
        found = "is empty" if values is None else f"has {type(values).__name__} in place of `key: value`"
        raise UserError(f"{path}: {found}; `time` is needed; {accepted}")
    try:
        for key in values:
            if key not in hints:
                raise UserError(f"{key}: unknown key; {_suggestion(str(key), list(hints))}{accepted}")
        if "time" not in values:
            raise UserError(f"time: missing; accepted: {TIME_FORMS}")
        profile = Profile(**{key: _typed(key, value, hints[key]) for key, value in values.items()})
        return replace(profile, scratch=_expanded(profile.scratch))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML whose plain scalars mean what they say.

    YAML 1.1 reads 1:30:00 as 5400, 1:30 as 90, 010 as 8 and 2026-11-22 as a date; sbatch reads all of them otherwise.
    Here decimal integers, true (yes, on), false (no, off) and null alone are no text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; of a key that is there twice YAML would keep the last and say nothing."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} occurs twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))


def _typed(key: str, value: Any, hint: Any) -> Any:
    """A value of the file in the type of its key; text may be a number, which is read as it is written."""
    kinds = typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)
    if value is None and type(None) in kinds:
        return None
    if str in kinds:
        _check(type(value) in (str, int), key, value, "text (in quotes)" + (", or null" if len(kinds) > 1 else ""))
        return str(value)
    if int in kinds:
        _check(type(value) is int, key, value, "a whole number" + (", or null" if len(kinds) > 1 else ""))
    elif key == "setup":
        fine = isinstance(value, list) and all(isinstance(line, str) for line in value)
        _check(fine, key, value, "a list of lines of text (in quotes)")
    else:
        _check(isinstance(value, dict), key, value, "a mapping of options of sbatch")
    return value


def _expanded(scratch: str | None) -> str | None:
    """With environment variables and ~ in place; a folder that is named `$NAME` is nobody's wish."""
    if scratch is None:
        return None
    try:
        path = os.path.expanduser(string.Template(scratch).substitute(os.environ))
    except KeyError as error:
        accepted = "variables that are set where this command runs"
        raise UserError(f"scratch: {scratch!r}: ${error.args[0]} is not set; accepted: {accepted}") from None
    except ValueError:
        raise UserError(f"scratch: {scratch!r} has a stray $; accepted: $NAME, ${{NAME}} and $$ for a dollar") from None
    _check(path and not path.startswith("~"), "scratch", scratch, "a folder; ~ or ~user of this machine")
    return path


def _seconds(time: str) -> int:
    """sbatch's forms of a time limit (man sbatch, --time), in seconds; UserError for anything else and for no limit."""
    fine = re.fullmatch(r"(\d{1,9}-)?\d{1,9}(:\d{1,9}){0,2}", time, re.ASCII)
    _check(fine, "time", time, f"{TIME_FORMS}; no other limit, as tasks write their checkpoints before it")
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:  # minutes[:seconds]
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _bytes(key: str, text: str) -> int:
    """sbatch's form of a size, in bytes; it takes a bare number as megabytes, which is seldom what was meant."""
    fine = re.fullmatch(r"0*[1-9]\d{0,8}[KMGT]", text.upper(), re.ASCII)
    _check(fine, key, text, 'a whole number above 0 with K, M, G or T, such as "8G"')
    return int(text[:-1]) * UNITS[text[-1].upper()]


def _check_option(name: Any, value: Any, has_memory: bool) -> None:
    where = f"sbatch.{name}"
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z-]+", name):
        raise UserError(f"{where}: is no option; accepted: long names without --, such as mail-type")
    # sbatch takes beginnings of names for the names
    for option in (*KEY_OF_OPTION, *OF_THE_LAUNCHER):
        if option.startswith(name):
            key = KEY_OF_OPTION.get(option)
            instead = f"the key `{key}` of the profile" if key else "any option that the launcher does not set"
            raise UserError(f"{where}: --{option} is set by the launcher; accepted: {instead}")
    if has_memory and name.startswith("mem-per-"):
        raise UserError(f"{where}: contradicts `memory`; accepted: one of the two")
    fine = value is True or (type(value) in (str, int) and str(value).strip() and str(value).isprintable())
    _check(fine, where, value, "text, a whole number, or true for an option without a value")


def _suggestion(key: str, keys: list[str]) -> str:
    key = key.lstrip("-").replace("_", "-")
    close = difflib.get_close_matches(key.replace("-", "_"), keys, 1)
    meant = KEY_OF_OPTION.get(key) or (close[0] if close else None)
    return f"did you mean {meant!r}? " if meant else "further options of sbatch go under `sbatch`; "


def _check(fine: Any, key: str, value: Any, accepted: str) -> None:
    if not fine:
        raise UserError(f"{key}: {value!r} is not accepted; accepted: {accepted}")
