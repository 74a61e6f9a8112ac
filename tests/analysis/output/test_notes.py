"""What a reader should know of a study."""

from analysis.output.notes import notes
from analysis.output.tables import main_table
from tests.support.studies import LOW, flat, full_study, make_study


def test_notes_state_scale_date_cost_episodes_commit_and_command() -> None:
    said = " ".join(notes(make_study(full_study(5))))
    facts = ["scale mini", "2026-01-02", "0.50 CPU h", "10 episodes", "0123456789", "`make it_all`"]
    assert [fact for fact in facts if fact not in said] == []
    dirty = make_study(full_study(2), git_commit="0123456789abcdef-dirty", machine="4 cores")
    assert "0.50 CPU h on 4 cores, commit 0123456789-dirty" in notes(dirty)[0]
    two = make_study(full_study(2), git_commit=f"{'ab' * 20}, {'cd' * 20}-dirty")
    assert "commit ababababab, cdcdcdcdcd-dirty," in notes(two)[0]
    bare = make_study(full_study(5), **dict.fromkeys(("scale", "date", "cpu_seconds", "git_commit", "command")))
    assert "None" not in " ".join(notes(bare))


def test_notes_state_what_was_done_not_what_was_asked() -> None:
    """Breaks if N_off is the number asked for, or other people's curves have our ten episodes."""
    config = {"method": "moore", "env": "pendulum", "dataset": LOW, "seed": 0, "dataset_transitions": 100_000}
    configs = {f"moore/{LOW}/0": config | {"online": {"epochs": 10}}}
    said = " ".join(notes(make_study(flat("moore", LOW, [1.0]), configs=configs, config={})))
    assert "N_off 4 000" in said
    assert "100 000" not in said
    assert "episodes" not in said


def test_a_method_without_a_dataset_starts_from_scratch() -> None:
    rows = flat("moore", "none:pendulum", [1.0, 2.0])
    run = {"method": "moore", "env": "pendulum", "dataset": None}
    made = make_study(rows, configs={f"moore/none:pendulum/{seed}": run | {"seed": seed} for seed in range(2)})
    assert "moore learns from scratch" in " ".join(notes(made))
    assert [name for name, _ in main_table(made).rows[0][1][0].parts] == ["online"]
