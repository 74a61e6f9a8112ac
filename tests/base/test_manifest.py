"""Manifests packed and unpacked: nothing of a run's config is lost, and equal numbers of other types stay apart."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.base.manifest import pack, read_manifest, unpack

KEYS = st.sampled_from(["a", "b", "c", "lr"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 3e-4]), st.just([64, 64]))
CONFIGS = st.dictionaries(KEYS, st.one_of(LEAVES, st.dictionaries(KEYS, LEAVES)), max_size=4)


@given(CONFIGS.filter(bool), st.dictionaries(st.sampled_from(["r1", "r2", "r3"]), CONFIGS))
def test_unpacked_is_what_was_packed(base: dict[str, Any], configs: dict[str, Any]) -> None:
    manifest = {"study": "toy", "config": base, "configs": configs, "defaults": {"sac": base}}
    assert json.dumps(unpack(pack(manifest)), sort_keys=True) == json.dumps(manifest, sort_keys=True)


def test_a_packed_run_says_only_what_differs() -> None:
    base = {"env": "hopper", "sac": {"lr": 1.0, "hidden": [64]}, "empty": {}}
    other = {"env": "hopper", "sac": {"lr": 1, "hidden": [64]}}
    packed = pack({"config": base, "configs": {"r1": base, "r2": other}})
    assert packed["configs"] == {"r1": {}, "r2": {"sac.lr": 1, "-": ["empty"]}}
    assert packed["config"] == base


def test_without_a_config_the_first_run_is_the_base() -> None:
    packed = pack({"configs": {"r1": {"a": 1}, "r2": {"a": 2}}})
    assert packed == {"config": {"a": 1}, "configs": {"r1": {}, "r2": {"a": 2}}}
    assert unpack(pack({"study": "imported"})) == {"study": "imported"}


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    for content, words in (("{", "not valid JSON"), ("[]", "list at the top")):
        file.write_text(content)
        with pytest.raises(UserError, match=words) as error:
            read_manifest(file)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path / "absent.json")
