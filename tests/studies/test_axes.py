"""Studies with axes, factors and chosen tasks: every member differs from the base in the keys that the YAML names."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.base.strict import dotted
from moore.cli.main import find_study
from moore.studies.axes import expand, multiplied
from moore.studies.identity import offline_run_id
from moore.studies.study import ABLATIONS_DIR, load_study
from tests.studies.test_refused import SCALE, STUDY

SCALES = sorted((ABLATIONS_DIR / "scales").glob("*.yaml"))
ABLATIONS = ["sampling", "sampling-extended", "decay_rate", "penalty", "where", "budget"]
MINI = ABLATIONS_DIR / "scales" / "mini.yaml"


def named_keys(study: str) -> dict[str, set[str]]:
    """Variant -> the dotted keys that the YAML lets it change, read from the file with nothing but YAML."""
    values = yaml.safe_load((ABLATIONS_DIR / f"{study}.yaml").read_text())
    out = {name: set(dotted(changes or {})) for name, changes in values.get("variants", {}).items()}
    names: dict[str, set[str]] = {"": set()} if "axes" in values else {}
    for axis, points in values.get("axes", {}).items():
        if isinstance(points, dict):
            here = {name: set(dotted(changes or {})) for name, changes in points.items()}
        else:
            here = {f"{axis.split('.')[-1]}-{point:g}": {axis} for point in points}
        names = {f"{a}-{b}".lstrip("-"): keys | more for a, keys in names.items() for b, more in here.items()}
    return out | names


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
@pytest.mark.parametrize("study", ABLATIONS)
def test_members_differ_from_the_base_in_the_named_keys_only(study: str, scale: Path) -> None:
    """Breaks if a variant changes a key that its YAML does not name, changes nothing, or has other seeds or tasks."""
    named, loaded = named_keys(study), load_study(ABLATIONS_DIR / f"{study}.yaml", scale)
    bare = yaml.safe_load((ABLATIONS_DIR / f"{study}.yaml").read_text())
    for key in ("variants", "axes", "methods"):
        bare.pop(key, None)
    plain = {(run.dataset, run.seed): dotted(to_mapping(run)) for run in base_runs(bare, scale)}
    assert loaded.reference is not None
    seen: dict[str, set[tuple[str | None, int]]] = {}
    for run in loaded.runs:
        if run.method not in named:
            continue  # a reference from scratch
        base, mine = plain[run.dataset, run.seed], dotted(to_mapping(run))
        changed = {key for key in mine if mine[key] != base[key]} - {"method"}
        assert changed <= named[run.method]
        assert bool(changed) == (run.method != loaded.reference)
        seen.setdefault(run.method, set()).add((run.dataset, run.seed))
    assert set(seen) == set(named)
    assert all(cells == set(plain) for cells in seen.values())


def base_runs(study: dict[str, Any], scale: Path) -> list[RunConfig]:
    """The runs of the scale as it stands, on the tasks that the study chooses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base.yaml"
        path.write_text(yaml.safe_dump(study | {"variants": {"base": {}}}))
        return load_study(path, scale).runs


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
@pytest.mark.parametrize("study", sorted(ABLATIONS_DIR.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_files(study: Path, scale: Path) -> None:
    """Breaks if a shipped study or scale does not load, or a scale leaves N_off / (S T^2) = 0.1."""
    runs = load_study(study, scale).runs
    assert runs
    for run in runs:
        assert run.seed or from_mapping(to_mapping(run), "again") == run
        if run.dataset is not None and run.dataset_transitions is not None:
            online = run.online
            assert run.dataset_transitions / (online.epoch_steps * online.epochs**2) == pytest.approx(0.1)


def test_study_is_variants_x_tasks_x_seeds_and_references_once(tmp_path: Path) -> None:
    """Breaks if runs are lost or doubled, references keep a dataset, or cohorts mix shapes or datasets."""
    paths = tmp_path / "study.yaml", tmp_path / "scale.yaml"
    tasks = [{"env": "pendulum", "dataset": f"self:pendulum-{quality}"} for quality in ("medium", "low")]
    for path, values in zip(paths, (STUDY | {"study": "s"}, SCALE | {"tasks": tasks}), strict=True):
        path.write_text(yaml.safe_dump(values))
    study = load_study(*paths)
    assert study.name == "s-mini"
    assert len(study.runs) == 2 * 2 * 2 + 2
    assert sorted(len(cohort) for cohort in study.cohorts()) == [2, 4, 4]
    for cohort in study.cohorts():
        assert len({(run.dataset, run.real_ratio) for run in cohort}) == 1
    assert [run.dataset for run in study.runs if run.method == "sac"] == [None, None]


@pytest.mark.parametrize("study", ["sampling-extended", "decay_rate", "where", "budget", "penalty"])
def test_online_studies_share_the_offline_stage(study: str) -> None:
    """Breaks if an online setting reaches the offline stage, whose comparisons would not be paired, or a kind of
    penalty does not.
    """
    stages: dict[tuple[str | None, int, str], set[str]] = {}
    for run in load_study(ABLATIONS_DIR / f"{study}.yaml", MINI).runs:
        stages.setdefault((run.dataset, run.seed, run.penalty.uncertainty), set()).add(offline_run_id(run))
    assert len(set.union(*stages.values())) == len(stages)
    assert all(len(names) == 1 for names in stages.values())


def test_product_of_axes() -> None:
    """Breaks if a combination is missing, changes of two axes do not meet, or names and points disagree."""
    axes = {"sampling.decay_rate": [0.5, 2], "kind": {"a": {}, "b": {"sampling": {"online_ratio": 0.1}}}}
    variants, points = expand(axes, "file")
    assert list(variants) == ["decay_rate-0.5-a", "decay_rate-0.5-b", "decay_rate-2-a", "decay_rate-2-b"]
    assert variants["decay_rate-2-b"] == {"sampling": {"decay_rate": 2, "online_ratio": 0.1}}
    assert points["decay_rate-0.5-b"] == {"sampling.decay_rate": 0.5, "kind": "b"}


def test_factors() -> None:
    """Breaks if a factor is not of the base's value, an integer does not stay one, or plain values are touched."""
    base = {"online": {"utd_ratio": 3, "epochs": 7}, "penalty": {"coef": 0.5}, "method": "moore"}
    changes = {"online": {"utd_ratio": "x2", "epochs": "x0.5"}, "penalty": {"coef": "x3"}, "method": "x"}
    got = multiplied(changes, base, "file")
    assert got == {"online": {"utd_ratio": 6, "epochs": 4}, "penalty": {"coef": 1.5}, "method": "x"}
    assert type(got["online"]["utd_ratio"]) is int


def test_variants_with_the_same_settings_are_trained_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a run is trained twice under two names, or a variant disappears without a word."""
    path = tmp_path / "s.yaml"
    path.write_text("study: s\nvariants: {a: {}, b: {sampling: {decay_rate: 1.0}}, c: {sampling: {decay_rate: 2.0}}}\n")
    study = load_study(path, ABLATIONS_DIR / "scales" / "mini.yaml")
    assert {run.method for run in study.runs} == {"a", "c"}
    assert study.collapsed == {"b": "a"}
    assert find_study(str(path), "mini").runs == study.runs
    assert capsys.readouterr().err == "moore: b has the settings of a: trained once, as a\n"


def test_a_study_may_have_seeds_of_its_own_number(tmp_path: Path) -> None:
    """Breaks if more seeds are asked for than trained, at another scale too, or a scale's name is not checked."""
    study = tmp_path / "study.yaml"
    study.write_text("{study: o, variants: {a: {}}, num_seeds: {mini: 7}}")
    for scale, seeds in (("mini", range(7)), ("quick", range(2))):
        runs = load_study(study, ABLATIONS_DIR / "scales" / f"{scale}.yaml").runs
        assert {run.seed for run in runs if run.dataset == runs[0].dataset} == set(seeds)
    study.write_text("{study: o, variants: {a: {}}, num_seeds: {minni: 7}}")
    with pytest.raises(UserError, match="num_seeds: 'minni'"):
        load_study(study, ABLATIONS_DIR / "scales" / "mini.yaml")
