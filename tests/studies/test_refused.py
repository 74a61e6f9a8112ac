"""Studies and scales that are refused: one line that names the file, the key and what is accepted."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from moore.base.errors import UserError
from moore.studies.study import load_study

STUDY: dict[str, Any] = {"variants": {"a": {}, "b": {"sampling": {"model_batches": "uniform"}}}, "methods": ["sac"]}
SCALE: dict[str, Any] = {
    "scale": "mini",
    "seeds": [0, 1],
    "defaults": {"dataset_transitions": 600, "agent": {"hidden": [64, 64]}, "online": {"epochs": 2, "utd_ratio": 2}},
    "tasks": [{"env": "pendulum", "dataset": "self:pendulum-medium"}],
    "methods": {"sac": {"online": {"exploration_steps": 10}}},
}
# of a study its text after `study: s`, of a scale what replaces its sections, of defaults what is laid over nothing;
# then the words of the line
REFUSED = r"""
defaults | {sampling: {anneal_start: -0.1}} | sampling.anneal_start | -0.1
defaults | {penalty: {rescale: "yes"}} | penalty.rescale | yes
defaults | {real_ratio: 1.0} | real_ratio | 1.0
defaults | {agent: {hidden: [64, x]}} | agent.hidden[1] | 'x'
defaults | {agent: {hidden: 64}} | agent.hidden: 64 | a list
defaults | {online: {epoch: 2}} | online.epoch | 'epochs'
defaults | {sampling: {model_batches: prioritised}} | sampling.model_batches | 'prioritized'
defaults | {penalty: {uncertainty: std}} | penalty.uncertainty | max_std
defaults | {sampling: {start_states: density_ratio}, density_ratio: {first_share: 1}} | .first_share | below 1
defaults | {dynamics: {hidden: [8]}} | dynamics.weight_decay | 2 numbers
defaults | {dynamics: {num_elites: 9}} | dynamics.num_elites | ensemble_size = 7
defaults | {online: {retrain_interval: 2000}} | online.retrain_interval | epoch_steps = 1000
defaults | {online: {update_interval: 300}} | online.update_interval | 0 or a divisor of 1000
defaults | {agent: {batch_size: 8, num_critics: 10}} | agent.num_critics | at most 8
defaults | {physics: d4rl} | pendulum | 'd4rl' | gymnasium
from scratch | {sampling: {model_batches: density_ratio}} | sampling.model_batches | 'density_ratio'
from scratch | {sampling: {start_states: on_policy}} | sampling.start_states | 'on_policy'
scale | tasks: [{env: pendulm, dataset: null}] | 'pendulm' | 'pendulum'
scale | tasks: [{env: pendulum, dataset: "self:pendulum-medum"}] | tasks[0].dataset | 'self:pendulum-medium'
scale | tasks: [{env: hopper, dataset: "self:pendulum-medium"}] | tasks[0].dataset | pendulum | hopper
scale | tasks: [{dataset: "self:pendulum-medium"}] | env: missing
scale | tasks: [{envv: pendulum, dataset: "self:pendulum-medium"}] | envv: unknown
scale | tasks: [] | tasks
scale | tasks: [{env: hopper, dataset: null}, {env: hopper, dataset: null, penalty: {coef: 9}}] | occurs twice
scale | tasks: [{env: pendulum, dataset: null}, {env: hopper, dataset: null, online: {epochs: 4}}] | online steps
scale | scale: ../elsewhere | scale: '../elsewhere' is not accepted
scale | seeds: [] | seeds: []
scale | seeds: [-1] | seeds[0] | -1
scale | methods: {sca: {}} | methods | 'sca' | sac
scale | methods: {sac: {agent: {temperature: 2.0}}} | method sac | no agent.temperature | agent.alpha_lr
scale | methods: {} | exploration_steps: 5000 | `methods`
study | axes: {online.epochs: [2, 4]} | online steps | 2000 | 4000
study | axes: {eval_episodes: [2, 4]} | eval episodes | 2 | 4
study | axes: {on: [1, 2]} | true: unknown key
study | axes: {agent.gamma: [0.99, 0.99]} | axes.agent.gamma | twice
study | axes: {sampling.decay_rate: []} | axes.sampling.decay_rate: expected a non-empty list of values
study | axes: {sampling.decay_rat: [1, 2]} | sampling.decay_rat: unknown key; did you mean 'decay_rate'?
study | axes: {sampling.decay_rate: [-1, 2]} | sampling.decay_rate: -1 is not accepted; expected greater than 0
study | axes: {kind: {a: 3}} | axes.kind: expected a non-empty list of values, or a mapping
study | axes: {kind: {A b: {}}} | 'A b' is not accepted; expected lower-case letters
study | variants: {u-1: {}}\naxes: {x.u: [1]} | 'u-1' occurs twice
study | variants: {a: {}, b: {seed: 7}} | b: seed | scale
study | variants: {a: {}, b: {method: other}} | b: method
study | variants:\n  a: {}\n  a: {real_ratio: 0.5} | duplicate key 'a'
study | variants:\n  a: {online: {utd_ratio: 2}, online: {utd_ratio: 3}} | duplicate key 'online'
study | variants: {a: {}}\n---\nstudy: t | another document
study | variants: {a: {online: {utd_ratio: 010}}} | online.utd_ratio | '010'
study | variants: {a: {algorithm: [sac]}} | algorithm | sac
study | variants: {a: {algorithm: awak}} | did you mean 'awac'
study | variants: {a: {algorithm: awac, sampling: {error_exponent: 1}}} | (algorithm awac)
study | variants: &a\n  b: *a | holds itself
study | variants: {a: {agent: {target_entropy: .nan}}} | agent.target_entropy | nan
study | variants: {a: {dynamics: {holdout_ratio: 0.0005}}} | dynamics.holdout_ratio | 600
study | variants: {a: {dataset: null, online: {retrain_interval: 4}}} | dynamics.holdout_ratio | 4 transitions
study | variants: {a: {dynamics: {online_max_update: x0.5}}} | did you mean 'online_max_updates'
study | variants: {a: {agent: {hidden: x2}}} | agent.hidden: x2 of [64, 64]; a factor needs a number
study | variants: {a: {online: {utd_ratio: x0.1}}} | online.utd_ratio: x0.1 of 2 is less than one
study | variants: {a: 3} | variants.a
study | variants: {a: {}}\ntasks: {minI: ["self:pendulum-medium"]} | tasks | 'minI' | 'mini'
study | variants: {a: {}}\ntasks: {mini: ["self:ant"]} | tasks.mini: 'self:ant' is not accepted;
study | variants: {a: {}}\ntasks: {mini: []} | tasks.mini: [] is not accepted
study | methods: [{moore: {}}] | methods[0]
study | methods: [awca] | did you mean 'awac'
study | methods: [awac, awac] | 'awac'
study | | expected `variants`, `axes` or `methods`
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_refused(line: str, tmp_path: Path) -> None:
    """Breaks if a check is missing or its message does not say where and what."""
    where, change, *words = (part.strip().replace("\\n", "\n") for part in line.split(" |"))
    study, scale = tmp_path / "study.yaml", tmp_path / "scale.yaml"
    values = SCALE
    if where == "scale":
        values = SCALE | yaml.safe_load(change)
    elif where != "study":
        values = SCALE | {"defaults": yaml.safe_load(change)}
        values |= {"tasks": [{"env": "pendulum", "dataset": None}]} if where == "from scratch" else {}
    study.write_text("study: s\n" + (change if where == "study" else yaml.safe_dump(STUDY)))
    scale.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError) as error:
        load_study(study, scale)
    said = str(error.value)
    named = study if where == "study" or "online steps" in words else scale  # which is of both together
    assert "\n" not in said
    assert all(word in said for word in [f"{named}: ", *words]), said
