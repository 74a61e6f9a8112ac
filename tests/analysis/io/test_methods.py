"""Names and order of the methods."""

from analysis.io.methods import ordered
from tests.support.method_studies import ALL


def test_the_order_is_moore_then_baselines_then_references() -> None:
    assert ordered(reversed(ALL)) == [
        "moore", "moore_plus", "balanced_replay", "awac", "iql", "cal_ql", "cql_sac", "td3_bc", "rlpd", "wsrl",
        "mbpo_warm", "mopo_naive", "mopo", "sac", "redq", "mbpo", "mbpo_plus",
    ]  # fmt: skip
