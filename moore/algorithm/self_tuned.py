"""The online share of the strategy `self_tuned`: it grows where the ensemble errs more online than offline; ours.

q <- clip(q exp(rate (e_on - e_off) / (e_on + e_off)), q_MOORe, 0.9) before each retraining. e is the ensemble's mean
error on transitions that it was not trained on: online the ones since the last retraining, offline the held-out ones.
q_MOORe is the share of the paper's priorities, from which q starts and below which it never falls, also above 0.9.
"""

import math
from collections.abc import Sequence

from moore.algorithm.dynamics import Ensemble
from moore.algorithm.replay import RealBuffer
from moore.algorithm.row_weights import row_errors
from moore.algorithm.sampling import CONSUMERS, Moment, SamplingConfig, prioritized
from moore.networks.batch import Batch
from moore.networks.state import State

SELF_TUNED = "self_tuned"
MOST = 0.9  # largest share to which errors alone lift q


class SelfTuned(State):
    """The shares of R runs; held_out: offline rows, at the end of each run's dataset, that never train the ensemble."""

    def __init__(self, configs: Sequence[SamplingConfig], buffer: RealBuffer, held_out: Sequence[int]) -> None:
        self._configs, self._buffer, self._held_out = configs, buffer, held_out
        self.share = [0.0] * len(configs)
        self.known = 0  # online transitions before the last retraining

    def refresh(self, ensemble: Ensemble, moments: Sequence[Moment]) -> None:
        """Follow the errors of the ensemble as it is before a retraining."""
        for run, (config, now) in enumerate(zip(self._configs, moments, strict=True)):
            if SELF_TUNED not in [getattr(config, consumer) for consumer in CONSUMERS]:
                continue
            rows, first = self._buffer.all_of(run), now.n_off - self._held_out[run]
            offline, online = (
                float(row_errors(ensemble, run, Batch(*(field[part] for field in rows))).mean())
                for part in (slice(first, now.n_off), slice(now.n_off + self.known, None))
            )
            floor = float(prioritized(config, now).online_share)
            self.share[run] = tuned_share(self.share[run], offline, online, config.tuning_rate, floor)
        self.known = self._buffer.online_size


def tuned_share(share: float, offline: float, online: float, rate: float, floor: float) -> float:
    """Return the next share from the errors of both sources."""
    total = offline + online
    tilt = (online - offline) / total if total else 0.0
    return max(min(share * math.exp(rate * tilt), MOST), floor)
