"""Profiles: the examples, sbatch's forms of times and sizes, YAML's traps, and bad input."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from slurm.profile import Profile, load_profile

EXAMPLES = sorted((Path(__file__).parents[2] / "slurm" / "profiles").glob("*.yaml"))
FIELDS = {field.name: field for field in dataclasses.fields(Profile)}


def load(tmp_path: Path, text: str) -> Profile:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return load_profile(path)


def message(tmp_path: Path, text: str) -> str:
    """What a user is told, after checking that it is one line that names the file and what is accepted."""
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    found = str(caught.value)
    assert found.startswith(f"{tmp_path / 'p.yaml'}: ")
    assert "accepted: " in found
    assert "\n" not in found
    return found


# the examples


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_as_they_are_and_with_every_example_line(path: Path, tmp_path: Path) -> None:
    """Breaks if an example has a typo, in the lines that are commented out, too."""
    text = path.read_text()
    assert load_profile(path).partition is None, "an example names no site's partition"
    lines = re.sub(r"^# (?=[a-z_]+: )", "", text, flags=re.MULTILINE)
    assert len(yaml.safe_load(lines)) > len(yaml.safe_load(text))
    load(tmp_path, lines)


def test_the_example_of_all_keys() -> None:
    """Breaks if a key has no line in cpu.yaml that says what it is, or the line names another default than the code."""
    assert [path.stem for path in EXAMPLES] == ["cpu", "gpu", "preemptible"]
    found = re.findall(r"^(?:# )?([a-z_]+): .+?  +# (.+)$", EXAMPLES[0].read_text(), flags=re.MULTILINE)
    assert sorted(key for key, _ in found) == sorted(FIELDS)
    for key, words in found:
        assert len(words) > 15, key
        default = FIELDS[key].default
        if isinstance(default, int):
            assert words.startswith(f"{default}; "), key


def test_the_examples_are_what_they_say() -> None:
    cpu, gpu, preemptible = map(load_profile, EXAMPLES)
    assert (cpu.torch_device, cpu.slot_count, cpu.gres) == ("cpu", 8, None)
    assert (gpu.torch_device, gpu.slot_count, gpu.gres) == ("cuda", 4, "gpu:1")
    assert preemptible.minutes == 60 < cpu.minutes < gpu.minutes


# times


def seconds_of_slurm(text: str) -> int | None:
    """Slurm's src/common/parse_time.c, character by character; None for what it refuses or is no limit."""
    digits = "0123456789"
    numbers: list[int] = []
    separators: list[str] = []
    current = ""
    for character in text + "$":
        if character in digits:
            current += character
        elif character in "-:$" and current:
            numbers.append(int(current))
            separators.append(character)
            current = ""
        else:
            return None
    if separators.count("$") != 1 or separators[-1] != "$":
        return None
    form = "".join(separators[:-1])
    total = 0
    if form == "":  # minutes
        total += 60 * numbers[0]
    elif form == ":":  # minutes:seconds
        total += 60 * numbers[0]
        total += numbers[1]
    elif form == "::":  # hours:minutes:seconds
        total += 3600 * numbers[0]
        total += 60 * numbers[1]
        total += numbers[2]
    elif form in ("-", "-:", "-::"):  # days-hours[:minutes[:seconds]]
        for number, weight in zip(numbers, (86400, 3600, 60, 1), strict=False):
            total += number * weight
    else:
        return None
    return total


NUMBERS = st.integers(0, 400).flatmap(lambda n: st.sampled_from([str(n), f"{n:02d}", f"{n:03d}"]))
FORMS = st.sampled_from(["{}", "{}:{}", "{}:{}:{}", "{}-{}", "{}-{}:{}", "{}-{}:{}:{}"])
TIMES = st.builds(lambda form, parts: form.format(*parts), FORMS, st.lists(NUMBERS, min_size=4, max_size=4))


@settings(deadline=None)  # other jobs may have the processor
@given(TIMES | st.text("0123456789-:", max_size=9))
@example("1:30:00")
@example("2-0:0:1")
@example("1-2-3")
@example("٣")  # a digit, not one of sbatch's
def test_minutes_are_slurms(text: str) -> None:
    """Breaks if a form of sbatch is read in another way, taken for an error, or something else is taken for a time."""
    seconds = seconds_of_slurm(text)
    if seconds is None:
        with pytest.raises(UserError, match=r"^time: .*accepted: .*1:30:00"):
            Profile(time=text, signal_seconds=1)
        return
    minutes = seconds // 60 + (1 if seconds % 60 else 0)
    if minutes <= 1:  # signal_seconds 1 and the minute that sbatch may be early
        with pytest.raises(UserError, match=rf"^time: .* is {minutes} minutes to sbatch"):
            Profile(time=text, signal_seconds=1)
        return
    assert Profile(time=text, signal_seconds=1).minutes == minutes


@pytest.mark.parametrize(
    ("text", "time", "minutes"),
    [
        ("1:30:00", "1:30:00", 90),  # 5400 in YAML 1.1
        ("'1:30:00'", "1:30:00", 90),
        ("90", "90", 90),
        ("12:00", "12:00", 12),  # 720 in YAML 1.1, which would be 12 hours
        ("010", "010", 10),  # 8 in YAML 1.1
        ("10:30", "10:30", 11),
        ("2-00:00:00", "2-00:00:00", 2880),
        ("1:30:00  # comment", "1:30:00", 90),
    ],
)
def test_unquoted_times_are_what_sbatch_would_read(text: str, time: str, minutes: int, tmp_path: Path) -> None:
    profile = load(tmp_path, f"time: {text}\n")
    assert (profile.time, profile.minutes) == (time, minutes)


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "1:30", "-5", "1.5", "1:30:00.5", "0x10", "1_000", "UNLIMITED", "INFINITE", "1h", "1-", "-1:00"),
        *("1:2:3:4", "1-1:1:1:1", "true", "null", "[90]", "{a: 1}", "' 90'", "'90\\n'", '"90\\n"', "2026-11-22"),
    ],
)
def test_bad_times(text: str, tmp_path: Path) -> None:
    assert ": time: " in message(tmp_path, f"time: {text}\n")


def test_a_time_that_is_shorter_than_it_looks_says_how_sbatch_reads_it(tmp_path: Path) -> None:
    assert "time: '2:30' is 3 minutes to sbatch; accepted: more than signal_seconds" in message(
        tmp_path, "time: 2:30\n"
    )
    assert load(tmp_path, "time: 2:30\nsignal_seconds: 119\n").minutes == 3  # 119 + 60 < 180
    assert "time: '3' is 3 minutes" in message(tmp_path, "time: 3\nsignal_seconds: 120\n")


def test_a_missing_time(tmp_path: Path) -> None:
    assert ': time: missing; accepted: "90"' in message(tmp_path, "cpus: 2\n")


# sizes


@settings(deadline=None)
@given(st.integers(1, 99999), st.sampled_from("KMGTkmgt"))
def test_sizes(number: int, unit: str) -> None:
    powers = {"k": 1, "m": 2, "g": 3, "t": 4}
    expected = number
    for _ in range(powers[unit.lower()]):
        expected *= 1024
    profile = Profile(time="60", memory=f"{number}{unit}", gpus=1, gpu_memory=f"{number}{unit}")
    assert profile.memory_bytes == profile.gpu_memory_bytes == expected


@pytest.mark.parametrize(
    "text", ["8", "8000", "0", "0G", "00G", "-8G", "8GB", "8 G", "1.5G", "G", "true", "[8G]", "''"]
)
@pytest.mark.parametrize("key", ["memory", "gpu_memory"])
def test_bad_sizes(key: str, text: str, tmp_path: Path) -> None:
    assert f": {key}: " in message(tmp_path, f"time: 60\ngpus: 1\n{key}: {text}\n")


# everything else


def test_defaults_and_the_way_through_a_manifest(tmp_path: Path) -> None:
    """Breaks if the record of a submission gives the worker another profile."""
    profile = load(
        tmp_path,
        "time: 1:00:00\ncpus: 3\naccount: 1234\nsetup: [a, 'b: c']\nsbatch: {nice: 5, exclusive: yes, begin: 16:00}\n",
    )
    assert profile == Profile(
        time="1:00:00",
        cpus=3,
        account="1234",
        setup=["a", "b: c"],
        sbatch={"nice": 5, "exclusive": True, "begin": "16:00"},  # 960 in YAML 1.1
    )
    assert type(profile.sbatch["exclusive"]) is bool
    assert Profile(**json.loads(json.dumps(dataclasses.asdict(profile)))) == profile
    assert (profile.slot_count, profile.torch_device, profile.gres) == (3, "cpu", None)
    assert (profile.memory_bytes, profile.gpu_memory_bytes) == (None, None)


def test_devices_and_slots() -> None:
    gpus = Profile(time="60", gpus=2, gpu_type="a100", cohorts_per_gpu=3, cpus=7)
    assert (gpus.torch_device, gpus.slot_count, gpus.gres) == ("cuda", 6, "gpu:a100:2")
    assert dataclasses.replace(gpus, device="cpu").torch_device == "cpu"
    assert dataclasses.replace(gpus, slots=5).slot_count == 5
    assert Profile(time="60", cpus=4, slots=9).slot_count == 9


def test_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_ROOM", "/a b/$x")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("NO_ROOM", raising=False)
    for text, expected in (
        ("$SOME_ROOM/runs", "/a b/$x/runs"),
        ("${SOME_ROOM}runs", "/a b/$xruns"),
        ("~/runs", "/home/me/runs"),
        ("runs", "runs"),
        ("a$$b", "a$b"),
        ("null", None),
    ):
        assert load(tmp_path, f"time: 60\nscratch: {text}\n").scratch == expected
    assert "scratch: '$NO_ROOM/x': $NO_ROOM is not set" in message(tmp_path, "time: 60\nscratch: $NO_ROOM/x\n")
    for text in ("a$", "~nobody-of-that-name/x", "''", "[a]", '"a\\nb"'):
        assert ": scratch: " in message(tmp_path, f"time: 60\nscratch: {text}\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("partitoin: a", "partitoin: unknown key; did you mean 'partition'? accepted: time, partition, "),
        ("mem: 8G", "mem: unknown key; did you mean 'memory'?"),
        ("cpus_per_task: 8", "did you mean 'cpus'?"),
        ("--cpus-per-task: 8", "did you mean 'cpus'?"),
        ("mail-type: FAIL", "mail-type: unknown key; further options of sbatch go under `sbatch`"),
        ("1: 2", "1: unknown key"),
        ("time: 50", "time occurs twice"),
        ("sbatch: {nice: 1, nice: 2}", "nice occurs twice"),
        ("[a]: 1", "cannot be read as YAML"),
        *((f"{key}: {value}", f": {key}: {value} is not accepted; accepted: {least} or more")
          for key, least in (("cpus", 1), ("gpus", 0), ("parallel", 1), ("cohorts_per_task", 1), ("slots", 1),
                             ("cohorts_per_gpu", 1), ("cohort_runs", 1), ("attempts", 1), ("signal_seconds", 1),
                             ("stalled_requeues", 0))
          for value in (least - 1, -7)),
        *((f"{key}: {value}", f": {key}: ")
          for key in ("cpus", "gpus", "parallel") for value in ("true", "1.5", "'2'", "[2]", "two", "1:30")),
        ("cpus:", "cpus: None is not accepted; accepted: a whole number"),
        *((f"{key}: {value}", f": {key}: ")
          for key in ("partition", "account", "qos", "gpu_type", "constraint")
          for value in ("on", "''", "[a]", "a b", '"a\\nb"', "\"a'b\"")),
        ("python: ''", ": python: "),
        ("python: yes", "python: True is not accepted; accepted: text (in quotes), or null"),
        ("setup: module load", "setup: 'module load' is not accepted; accepted: a list"),
        ("setup: [a, 1]", ": setup: "),
        ("setup: [a: b]", ": setup: "),
        ("setup:", ": setup: None"),
        ("setup: ['#SBATCH --nice=5']", "options go under `sbatch`"),
        ("device: gpu", "device: 'gpu' is not accepted; accepted: cpu, cuda"),
        ("device: cuda", "device: 'cuda' is not accepted; accepted: cuda with gpus: 1 or more, or cpu"),
        ("gpu_type: a100", "gpu_type: 'a100' is not accepted; accepted: null, or gpus: 1 or more"),
        ("gpu_memory: 8G", "gpu_memory: '8G' is not accepted; accepted: null, or gpus: 1 or more"),
        ("cohorts_per_gpu: 2", "cohorts_per_gpu: 2 is not accepted; accepted: 1, or gpus: 1 or more"),
        ("gpus: 2\ncohorts_per_gpu: 3\nslots: 7", "slots: 7 is not accepted; accepted: gpus * cohorts_per_gpu = 6"),
        ("signal_seconds: 65536", "signal_seconds: 65536 is not accepted; accepted: 65535 or less"),
        ("sbatch: [a]", ": sbatch: "),
        ("sbatch:", ": sbatch: None"),
    ],
)  # fmt: skip
def test_bad_values(line: str, words: str, tmp_path: Path) -> None:
    assert words in message(tmp_path, f"time: 60-00\n{line}\n")


@pytest.mark.parametrize(
    "name", ["comment", "array", "output", "error", "open-mode", "signal", "requeue", "job-name", "dependency"]
)
def test_options_that_the_launcher_sets(name: str, tmp_path: Path) -> None:
    """Breaks if a profile can redirect what the launcher looks for; sbatch takes the beginning of a name for it."""
    for option in (name, name[:-1]):
        found = message(tmp_path, f"time: 60\nsbatch: {{{option}: x}}\n")
        assert f"sbatch.{option}: --{name} is set by the launcher" in found


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("partition: a", "the key `partition` of the profile"),
        ("time: 5", "the key `time` of the profile"),
        ("cpus-per-task: 5", "the key `cpus` of the profile"),
        ("mem: 5", "the key `memory` of the profile"),
        ("gres: 'gpu:1'", "the key `gpus` of the profile"),
        ("clusters: other", "--clusters is set by the launcher"),
        ("--nice: 1", "sbatch.--nice: is no option; accepted: long names without --, such as mail-type"),
        ("mail_type: x", "sbatch.mail_type: is no option"),
        ("p: x", "sbatch.p: is no option"),
        ("1: x", "sbatch.1: is no option"),
        ("nice: false", "sbatch.nice: False is not accepted; accepted: text, a whole number, or true"),
        ("nice:", "sbatch.nice: None"),
        ("nice: [1]", "sbatch.nice: [1]"),
        ("nice: ''", "sbatch.nice: ''"),
        ('nice: "a\\n#SBATCH --time=1"', "sbatch.nice: 'a"),
    ],
)
def test_bad_options(option: str, words: str, tmp_path: Path) -> None:
    assert words in message(tmp_path, f"time: 60\nsbatch:\n  {option}\n")


def test_memory_in_two_ways(tmp_path: Path) -> None:
    assert "sbatch.mem-per-cpu: contradicts `memory`" in message(
        tmp_path, "time: 60\nmemory: 8G\nsbatch: {mem-per-cpu: 2G}\n"
    )
    fine: dict[str, Any] = {"mem-per-cpu": "2G", "wckey": "a", "time-min": "30:00", "exclusive": True, "nodelist": "n1"}
    assert load(tmp_path, f"time: 60\nsbatch: {json.dumps(fine)}\n").sbatch == fine


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; `time` is needed; "),
        (b"# time: 60\n", "is empty"),
        (b"- time\n", "has list in place of"),
        (b"just words\n", "has str in place of"),
        (b"time: [60\n", "cannot be read as YAML"),
        (b"time: 60\n  cpus: 1\n", "cannot be read as YAML"),
        (b"\xff\xfe\x00time", "cannot be read as YAML"),
        (b"time: 60\nsetup: !!python/object:os.system [a]\n", "cannot be read as YAML"),
    ],
)
def test_no_profile_at_all(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: {re.escape(words)}.*accepted: .*") as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p\.yaml: no such file; accepted: a YAML file"):
        load_profile(tmp_path / "p.yaml")
    with pytest.raises(UserError, match=r"cannot be read as YAML \(.*Is a directory"):
        load_profile(tmp_path)
