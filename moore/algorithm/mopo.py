"""The offline stage: MOPO (Yu et al., arXiv 2005.13239) or a baseline's own pre-training on the dataset.

Every online run on the same dataset and seed with the same offline settings starts from it.
"""

from __future__ import annotations

from collections.abc import Callable

from moore.algorithm.cohort import Cohort
from moore.run.recorder import Recorder
from moore.studies.identity import offline_method


def offline_stage(cohort: Cohort, recorder: Recorder, safe_point: Callable[[], None]) -> None:
    """Train ensemble, policy and critics on D_off; continues where the cohort stands.

    Evaluations are rows of phase "offline" at their number of updates. safe_point is called after every update, of the
    ensemble too.
    """
    name = offline_method(cohort.shared)
    settings = cohort.shared.offline
    cohort.safe_point = safe_point
    if cohort.ensemble is not None and not cohort.ensemble.fitted:
        recorder.stage("offline: dynamics ensemble")
        cohort.train_model(t=0)
        safe_point()
    if cohort.evaluations == 0:
        recorder.evaluation(cohort, "offline", env_steps=0)
    while cohort.updates < settings.updates:
        if cohort.ensemble is not None and cohort.updates % settings.rollout_interval == 0:
            cohort.imagine(t=0)
        cohort.update_policy(t=0, count=1)
        if cohort.updates % settings.eval_interval == 0:
            recorder.training(cohort, "offline", env_steps=0)
            recorder.evaluation(cohort, "offline", env_steps=0)
        if cohort.updates % settings.rollout_interval == 0 or cohort.updates == settings.updates:
            recorder.progress(cohort.updates, settings.updates, f"offline: {name}")
        safe_point()
    cohort.safe_point = lambda: None  # it knows the cohort, whose D_model would stay beside that of the online stage
