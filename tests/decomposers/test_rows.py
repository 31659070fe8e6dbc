"""Where values hold the samples, and folding modules in there."""

from __future__ import annotations

import pytest
import torch

from modhub.decomposers.cut import choose_cut
from modhub.decomposers.rows import Rows, rows_of
from modhub.errors import DecomposeError
from modhub.network.load import load
from modhub.network.sites import find_sites
from tests.support.onnx_graphs import floats, ints, onnx_bytes
from tests.support.torch_models import exported

FOLDED = """(float[N, 4, 3] x) => (float[N, 5] y) {
    steps = Transpose<perm = [1, 0, 2]>(x)
    flat = Reshape(steps, all)
    hidden = Gemm<transB = 1>(flat, w, b)
    bent = Relu(hidden)
    apart = Reshape(bent, back)
    mean = ReduceMean<keepdims = 0>(apart, zero)
    y = Gemm<transB = 1>(mean, v, c)
}"""


def test_time_before_the_samples_and_after_them() -> None:
    arrays = {"all": ints(-1, 3), "back": ints(4, -1, 6), "zero": ints(0)}
    weights = {"w": floats(6, 3), "b": floats(6), "v": floats(5, 6), "c": floats(5)}
    network = load(onnx_bytes(FOLDED, opset=20, **arrays, **weights))
    rows = rows_of(network)
    made = {node.op: rows[node.outputs[0]] for node in network.nodes if node.outputs[0] != network.output}
    assert made["Transpose"] == Rows(1)
    assert made["Relu"] == Rows(0, before=4, after=1)
    assert rows[network.output] == Rows(0)


@pytest.mark.parametrize("place", [Rows(0), Rows(1), Rows(1, before=2), Rows(0, after=3), Rows(2, before=2, after=3)])
def test_folding_undoes_spreading(place: Rows) -> None:
    modules, samples = 3, 4
    shape = [5] * place.axis + [place.before * samples * place.after, 7]
    shared = torch.randn(shape)
    spread = place.spread(shared, modules, apart=False)
    assert spread.shape[place.axis : place.axis + 3] == (place.before, modules, samples * place.after)
    folded = place.fold(spread)
    assert torch.equal(place.spread(folded, modules, apart=True), spread)
    for module in range(modules):
        assert torch.equal(spread.select(place.axis + 1, module).flatten(place.axis, place.axis + 1), shared)


@pytest.mark.parametrize("place", [Rows(1), Rows(1, before=2, after=3)])
@pytest.mark.parametrize("along", [0, 2])
def test_factors_meet_their_own_samples_and_channels(place: Rows, along: int) -> None:
    modules, samples, channels = 3, 4, 5
    factors = torch.randn(modules, samples, channels)
    shape = [channels, place.before * samples * place.after, channels]
    product = torch.ones(place.spread(torch.ones(shape), modules, apart=False).shape) * place.shaped(
        factors, along=along, rank=3
    )
    for sample in range(samples):
        found = product.select(place.axis + 2, sample * place.after).select(place.axis, place.before - 1)
        expected = factors[:, sample].T[:, :, None] if along == 0 else factors[:, sample][None]
        assert torch.equal(found, expected.expand_as(found))


def test_a_trunk_ends_where_a_row_is_a_sample() -> None:
    network = load(exported("two bidirectional LSTMs", dynamo=False, opset=17))
    sites = find_sites(network)
    between = next(node.outputs[0] for node in network.nodes if rows_of(network)[node.outputs[0]] == Rows(1))
    with pytest.raises(DecomposeError):
        choose_cut(network, sites, between)
    cut, maskable = choose_cut(network, sites, "auto")
    assert cut == "" or rows_of(network)[cut] == Rows(0)
    assert maskable
