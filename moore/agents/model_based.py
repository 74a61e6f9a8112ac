"""The agent of MOPO, MOORe and MBPO: SAC whose batches are drawn from imagined transitions, but for a real share."""

from moore.agents.registry import register
from moore.agents.sac import SAC


@register("moore")
class ModelBasedSAC(SAC):
    """SAC as it is; the dynamics ensemble, the rollouts and their penalty come with `uses_model`."""

    uses_model = True
