"""The offline stage: MOPO (Yu et al., arXiv 2005.13239) or a baseline's own pre-training on the dataset.

Every online run on the same dataset and seed with the same offline settings starts from it.
"""

from __future__ import annotations

from collections.abc import Callable

from moore.cohort import Cohort
from moore.results import Recorder, offline_method


def offline_stage(cohort: Cohort, recorder: Recorder, checkpoint: Callable[[], None]) -> None:
    """Train ensemble, policy and critics on D_off; continues where cohort.updates stands.

    Evaluations are rows of phase "offline" at their number of updates.
    """
    name = offline_method(cohort.shared)
    settings = cohort.shared.offline
    if cohort.updates == 0:
        if cohort.shared.uses_model:
            recorder.stage("offline: dynamics ensemble")
            cohort.train_model(t=0)
        recorder.evaluation(cohort, "offline", env_steps=0)
    while cohort.updates < settings.updates:
        if cohort.shared.uses_model:
            cohort.imagine(t=0)
        for _ in range(min(settings.rollout_interval, settings.updates - cohort.updates)):
            cohort.update_policy(t=0, count=1)
            if cohort.updates % settings.eval_interval == 0:
                recorder.training(cohort, "offline", env_steps=0)
                recorder.evaluation(cohort, "offline", env_steps=0)
        recorder.progress(cohort.updates, settings.updates, f"offline: {name}")
        checkpoint()
