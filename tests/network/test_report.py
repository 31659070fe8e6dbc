from __future__ import annotations

from modhub.network.report import describe
from modhub.network.sites import find_sites
from tests.support.networks import Builder


def test_every_site_is_described_with_the_reason_why_it_cannot_be_cut() -> None:
    builder = Builder(shape=(3, 4, 4))
    normal = builder.apply("LRN", builder.conv(builder.input, 4), size=3)
    network = builder.build(builder.gemm(builder.flatten(builder.conv(normal, 2)), 5))
    assert describe(find_sites(network)) == [
        {
            "site": "array0",
            "kind": "kernels",
            "channels": 4,
            "layers": ["array0"],
            "pinned": "LRN node 'lrn1' has no rule for cutting",
        },
        {"site": "array2", "kind": "kernels", "channels": 2, "layers": ["array2"], "pinned": None},
        {"site": "array4", "kind": "units", "channels": 5, "layers": ["array4"], "pinned": "it is the output"},
    ]
