"""Profiles: the examples, sbatch's forms of times and sizes, and bad input."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from moore.base.strict import load_yaml
from slurm.profile import PROFILES, Profile
from tests.support.errors import one_line

EXAMPLES = sorted(PROFILES.glob("*.yaml"))
FIELDS = {field.name: field for field in dataclasses.fields(Profile)}


def load(tmp_path: Path, text: str) -> Profile:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return load_yaml(path, Profile)


def message(tmp_path: Path, text: str) -> str:
    """What a user is told, after the name of the file."""
    place, _, found = one_line(lambda: load(tmp_path, text)).partition(": ")
    assert place == str(tmp_path / "p.yaml")
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_as_they_are_and_with_every_example_line(path: Path, tmp_path: Path) -> None:
    """Breaks if an example has a typo, in the lines that are commented out, too."""
    text = path.read_text()
    assert load_yaml(path, Profile).partition is None, "an example names no site's partition"
    lines = re.sub(r"^# (?=[a-z_]+: )", "", text, flags=re.MULTILINE)
    assert len(yaml.safe_load(lines)) > len(yaml.safe_load(text))
    load(tmp_path, lines)


def test_the_example_of_all_keys() -> None:
    """Breaks if a key has no line in cpu.yaml that says what it is, or the line names another default than the code."""
    assert [path.stem for path in EXAMPLES] == ["cpu", "gpu", "preemptible"]
    found = re.findall(r"^(?:# )?([a-z_]+): .+?  +# (.+)$", EXAMPLES[0].read_text(), flags=re.MULTILINE)
    assert sorted(key for key, _ in found) == sorted(FIELDS)
    for key, words in found:
        default = FIELDS[key].default
        if isinstance(default, int):
            assert words.startswith(f"{default}; "), key


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("010", 10),  # 8 in YAML 1.1
        ("12:00", 12),  # 720 in YAML 1.1
        ("10:30", 11),
        ("1:30:00", 90),  # 5400 in YAML 1.1
        ("1:30:01", 91),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("2-12:30:01", 3631),
    ],
)
def test_times_are_what_sbatch_would_read(text: str, minutes: int, tmp_path: Path) -> None:
    """Breaks if a form of sbatch is read in another way, with quotes or without."""
    for written in (text, f"'{text}'"):
        profile = load(tmp_path, f"time: {written}\n")
        assert (profile.time, profile.minutes) == (text, minutes)


@pytest.mark.parametrize(
    "text",
    ["''", "0", "1:30", "-5", "1.5", "0x10", "UNLIMITED", "1h", "1-", "1:2:3:4", "1-1:1:1:1", "true", "null", "[90]",
     "' 90'", "'90\\n'", '"90\\n"', "2026-11-22", "'٣0'"],
)  # fmt: skip
def test_bad_times(text: str, tmp_path: Path) -> None:
    found = message(tmp_path, f"time: {text}\n")
    assert found.startswith("time: ") or "date" in found


def test_a_time_that_is_shorter_than_it_looks_says_how_sbatch_reads_it(tmp_path: Path) -> None:
    assert "time: '2:30' is 3 minutes to sbatch" in message(tmp_path, "time: 2:30\n")
    assert load(tmp_path, "time: 2:30\nsignal_seconds: 119\n").minutes == 3  # 119 + 60 < 180
    assert "time: missing" in message(tmp_path, "cpus: 2\n")


def test_sizes(tmp_path: Path) -> None:
    for text in ("3k", "16M", "8G", "2t"):
        assert load(tmp_path, f"time: 60\nmemory: {text}").memory == text
    for text in ("8", "0G", "-8G", "8GB", "8 G", "1.5G", "G", "true", "[8G]", "''"):
        assert message(tmp_path, f"time: 60\nmemory: {text}\n").startswith("memory: ")


def test_defaults_and_the_way_through_a_manifest(tmp_path: Path) -> None:
    """Breaks if the record of a submission gives the worker another profile."""
    sbatch = "{nice: 5, exclusive: yes, begin: 16:00}"  # 960 in YAML 1.1
    profile = load(tmp_path, f"time: 1:00:00\ncpus: 3\naccount: 1234\nsetup: [a, 'b: c']\nsbatch: {sbatch}\n")
    options: dict[str, Any] = {"nice": 5, "exclusive": True, "begin": "16:00"}
    assert profile == Profile(time="1:00:00", cpus=3, account="1234", setup=["a", "b: c"], sbatch=options)
    assert type(profile.sbatch["exclusive"]) is bool
    assert Profile(**json.loads(json.dumps(dataclasses.asdict(profile)))) == profile
    assert (profile.slot_count, profile.torch_device, profile.gres) == (3, "cpu", None)


def test_devices_and_slots() -> None:
    gpus = Profile(time="60", gpus=2, gpu_type="a100", units_per_gpu=3, cpus=7)
    assert (gpus.torch_device, gpus.slot_count, gpus.gres) == ("cuda", 6, "gpu:a100:2")
    assert dataclasses.replace(gpus, slots=5).slot_count == 5
    assert Profile(time="60", cpus=4, slots=9).slot_count == 9


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("partitoin: a", "partitoin: unknown key; did you mean 'partition'? accepted: time, partition, "),
        ("cpus: 0", "cpus: 0"),
        ("gpus: -1", "gpus: -1"),
        ("signal_seconds: 65536", "signal_seconds: 65536"),
        ("partition: a b", "partition: 'a b'"),
        ("python: yes", "python: True"),
        ("setup: module load", "setup: 'module load'"),
        ("setup: ['#SBATCH --nice=5']", "options go under `sbatch`"),
        ("gpu_type: a100", "gpu_type: 'a100' is not accepted; accepted: null, or gpus: 1 or more"),
        ("units_per_gpu: 2", "units_per_gpu: 2"),
        ("gpus: 2\nunits_per_gpu: 3\nslots: 7", "slots: 7"),
        ("sbatch: [a]", "sbatch: ['a']"),
        ("sbatch: {nice: false}", "sbatch.nice"),
        ("sbatch: {nice: ''}", "sbatch.nice"),
        ('sbatch: {nice: "a\\n#SBATCH --time=1"}', "sbatch.nice"),
        ("sbatch: {--nice: 1}", "sbatch.--nice"),
        ("sbatch: {p: x}", "sbatch.p"),
        ("memory: 8G\nsbatch: {mem-per-cpu: 2G}", "sbatch.mem-per-cpu"),
    ],
)
def test_bad_values(line: str, words: str, tmp_path: Path) -> None:
    assert words in message(tmp_path, f"time: 60-00\n{line}\n")


@pytest.mark.parametrize("name", ["comment", "array", "output", "signal", "requeue", "dependency", "partition", "mem"])
def test_options_that_the_launcher_sets(name: str, tmp_path: Path) -> None:
    """Breaks if a profile can redirect what the launcher looks for; sbatch takes the beginning of a name for it."""
    for option in (name, name[:-1]):
        assert message(tmp_path, f"time: 60\nsbatch: {{{option}: x}}\n").startswith(f"sbatch.{option}: ")
    fine: dict[str, Any] = {"mem-per-cpu": "2G", "wckey": "a", "time-min": "30:00", "exclusive": True, "nodelist": "n1"}
    assert load(tmp_path, f"time: 60\nsbatch: {json.dumps(fine)}\n").sbatch == fine
