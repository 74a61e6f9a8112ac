"""The offline stage: MOPO (Yu et al., arXiv 2005.13239), or a baseline's own pre-training on the dataset.

Every online run on the same dataset and seed with the same offline settings starts from it.
"""

from moore.algorithm.clock import SafePoint
from moore.algorithm.cohort import Cohort
from moore.algorithm.log import Log
from moore.algorithm.update_policy import UPDATES_PER_DRAW

# updates whose random numbers are drawn, and which a GPU makes, at once; another number draws other ones
AT_ONCE = {"cpu": 1, "cuda": UPDATES_PER_DRAW}


def mopo(cohort: Cohort, log: Log, safe_point: SafePoint) -> None:
    """Train ensemble, policy and critics on D_off, from where the cohort stands.

    Evaluations are of phase "offline" at their number of updates.
    """
    settings = cohort.shared.offline
    if cohort.ensemble is not None and not cohort.ensemble.fitted:
        log.stage("offline: dynamics ensemble")
        cohort.train_model(0, safe_point)
        safe_point()
    if cohort.evaluations == 0:
        cohort.evaluate(log)

    while cohort.updates < settings.updates:
        if cohort.ensemble is not None and cohort.updates % settings.rollout_interval == 0:
            cohort.imagine(0)
        cohort.update_policy(0, updates_due(cohort))
        if cohort.updates % settings.eval_interval == 0:
            log.training("offline", 0, cohort.updates, cohort.metrics.flush())
            cohort.evaluate(log)
        if cohort.updates % settings.rollout_interval == 0 or cohort.updates == settings.updates:
            log.progress("offline", cohort.updates, settings.updates)
        safe_point()


def updates_due(cohort: Cohort) -> int:
    """Count the updates until there is something else to do, at most those that are made at once."""
    done, settings = cohort.updates, cohort.shared.offline
    breaks = [done - done % every + every for every in (settings.rollout_interval, settings.eval_interval)]
    return min(AT_ONCE[cohort.device.type], min(settings.updates, *breaks) - done)
