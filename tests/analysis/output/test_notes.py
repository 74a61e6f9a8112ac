"""What a reader should know of a study."""

from __future__ import annotations

from pathlib import Path

from analysis.output.notes import notes
from tests.support.method_studies import (
    flat_scores,
    method_study,
)
from tests.support.studies import full_study, make_study


def test_notes_state_scale_date_cost_episodes_commit_and_command() -> None:
    said = " ".join(notes(make_study(full_study(5))))
    facts = ["scale mini", "2026-01-02", "0.50 CPU h", "10 episodes", "0123456789", "`make it_all`"]
    assert [fact for fact in facts if fact not in said] == []
    dirty = make_study(full_study(2), git_commit="0123456789abcdef-dirty", machine="4 cores")
    assert "0.50 CPU h on 4 cores, commit 0123456789-dirty" in notes(dirty)[0]
    bare = make_study(full_study(5), **dict.fromkeys(("scale", "date", "cpu_seconds", "git_commit", "command")))
    assert "None" not in " ".join(notes(bare))


def test_notes_tell_who_is_frozen_untrained_or_from_scratch(tmp_path: Path) -> None:
    names = ["moore", "mopo", "rlpd", "mbpo"]
    said = " ".join(notes(method_study(tmp_path, names, 2, flat_scores({name: [60.0, 61.0] for name in names}))))
    assert "mbpo learns from scratch" in said
    assert "rlpd starts with the dataset but untrained" in said
    assert "mopo keeps the offline policy" in said
