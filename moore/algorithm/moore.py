"""MOORe's online stage: Algorithm 1 of "Model-based Offline-to-Online Reinforcement Learning" (arXiv 2201.10070).

    input: offline dataset D_off, and the policy, critics and ensemble that MOPO trained on it (mopo.py)
    D_on, D_model <- empty                                                                     replay.py
    for epoch t = 1 .. T                                                                       clock.py
        give offline transitions the priority f(t) = 1 / (alpha t), online ones 1              sampling.py
        for step tau = 1 .. S
            act in the environment, add the transition to D_on                                 interaction.py
            if tau mod phi == 0
                train the ensemble on D_off and D_on, drawn by priority, until convergence     train_model.py
                draw start states by the same priority, roll out H steps                       draws.py, rollout.py
                penalise the rewards, r - lambda u; add the transitions to D_model             penalty.py
            N times: update policy and critics on a batch from D_model                         update_policy.py

Baselines run through the same loop; without a model they do its other steps. R runs go through it at once.
"""

from moore.algorithm.clock import SafePoint
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.log import Log
from moore.algorithm.update_policy import UPDATES_PER_DRAW


def moore(cohort: Cohort, log: Log, safe_point: SafePoint) -> None:
    """Run Algorithm 1 for every run of the cohort, from where its clock stands."""
    online, clock, due = cohort.shared.online, cohort.clock, evaluation_steps(cohort.shared)
    if cohort.evaluations == 0:
        cohort.evaluate(log)  # J_0, before the first online step

    for t, tau in clock.steps(online.epochs, online.epoch_steps, safe_point):
        # one step with the current policy, added to D_on
        clock.once(cohort.interact)

        if learns(cohort):
            if cohort.ensemble is not None and tau % online.retrain_interval == 0:
                # the ensemble on D_off and D_on by priority, until convergence
                clock.once(cohort.train_model, t, safe_point)
                # H steps from start states drawn by priority, penalised, added to D_model
                clock.once(cohort.imagine, t)
            # N updates of policy and critics on D_model, and on a share of real transitions
            clock.repeat(cohort.update_policy, t, times=updates_due(cohort, t, tau), at_most=UPDATES_PER_DRAW)

        clock.once(report, cohort, log, t, tau, due)


def learns(cohort: Cohort) -> bool:
    """Tell whether the runs learn yet: not while they explore or warm up, and never without updates."""
    online = cohort.shared.online
    return cohort.online_size >= max(online.exploration_steps, online.warmup_steps) and online.utd_ratio > 0


def updates_due(cohort: Cohort, t: int, tau: int) -> int:
    """Count the updates that follow step tau of epoch t: N a step, paid every update_interval steps.

    A model-based run owes none before its first rollout, phi steps into the stage: D_model starts empty.
    """
    online = cohort.shared.online
    interval = online.update_interval or online.epoch_steps
    if tau % interval or not cohort.has_imagined:
        return 0
    return online.utd_ratio * interval * (online.first_epoch_factor if t == 1 else 1)


def report(cohort: Cohort, log: Log, t: int, tau: int, due: set[int]) -> None:
    """Evaluate at the steps where that is due; write what training said at the end of an epoch."""
    online, steps = cohort.shared.online, cohort.online_size
    if steps in due:
        cohort.evaluate(log)
    if tau == online.epoch_steps:
        log.training("online", steps, cohort.updates, cohort.metrics.flush())
        log.progress("online", t, online.epochs)


def evaluation_steps(config: RunConfig) -> set[int]:
    """Return when to evaluate, beside J_0: every S/4 steps in the first tenth of the budget, then every S."""
    size, total = config.online.epoch_steps, config.online_steps
    early = {k * size // 4 for k in range(1, 4 * config.online.epochs + 1) if k * size // 4 <= total // 10}
    return early | set(range(size, total + 1, size))
