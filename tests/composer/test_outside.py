"""A composed model outside modhub: in plain ONNX Runtime, from Python and from JavaScript, and in torch's hands."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from modhub import flow
from modhub.composer.compose import compose
from modhub.engines.golden import golden_input
from modhub.engines.runtime import Session
from modhub.errors import UsageError
from modhub.package.materialise import network_of
from tests.support.needed import lacking
from tests.support.npm import onnxruntime_web
from tests.support.optimised import optimised_convolutions
from tests.support.samples import parts, small_network

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.network.network import Array, Network, Node

SEEDED = "modhub/resnet20-cifar10"
CUT = "relu_12"
"""Where the trunk of these modules ends."""

SCRIPT = """
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
const [runtime, model, input] = process.argv.slice(2);
const ort = await import(pathToFileURL(`${runtime}/ort.wasm.min.mjs`));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = pathToFileURL(runtime).href + '/';
ort.env.wasm.wasmBinary = readFileSync(`${runtime}/ort-wasm-simd-threaded.wasm`);
const weights = { path: 'weights.safetensors', data: readFileSync(`${model}/weights.safetensors`) };
const session = await ort.InferenceSession.create(readFileSync(`${model}/model.onnx`), { externalData: [weights] });
const { shape, values } = JSON.parse(readFileSync(input));
const tensor = new ort.Tensor('float32', Float32Array.from(values), shape);
const { scores } = await session.run({ [session.inputNames[0]]: tensor });
console.log(JSON.stringify(Array.from(scores.data)));
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A composed model on disk."""
    return flow.write_package(compose(parts()).package, tmp_path / "pets")


def test_plain_onnx_runtime_opens_the_folder(folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    x = golden_input(small_network().input)
    (scores,) = session.run(["scores"], {session.get_inputs()[0].name: x})
    assert np.array_equal(scores, Session(flow.load(folder).network).run(x))
    assert {"modhub.modules"} <= set(session.get_modelmeta().custom_metadata_map)


def test_onnx_runtime_for_the_web_gives_the_same_scores(
    folder: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    node = shutil.which("node")
    if node is None:
        lacking("node", "it is not on the path")
    runtime = onnxruntime_web(pytestconfig)
    x = golden_input(small_network().input)
    (tmp_path / "run.mjs").write_text(SCRIPT)
    (tmp_path / "x.json").write_text(json.dumps({"shape": x.shape, "values": x.ravel().tolist()}))
    command = [node, str(tmp_path / "run.mjs"), str(runtime), str(folder), str(tmp_path / "x.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    expected = Session(flow.load(folder).network).run(x)
    found = np.array(json.loads(done.stdout.splitlines()[-1])).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_trunk_runs_once_in_what_onnx_runtime_makes_of_a_composite() -> None:
    """Convolutions left are those of the trunk, once, and at most those of every tail."""
    given, _ = flow.gather([f"{SEEDED}/{name}" for name in ("cat", "ship")])
    base = given[0].base
    assert base is not None
    parent = network_of(base)
    trunk = [node for node in parent.nodes[: parent.producers()[CUT] + 1] if node.op == "Conv"]
    tails = [convolutions(network_of(part.package, part.base)) - len(trunk) for part in given]
    composite = flow.compose(given, strategy="trunk").network
    left = optimised_convolutions(composite)
    assert left == convolutions(composite)
    assert len(trunk) + max(tails) < left <= len(trunk) + sum(tails)
    for node in trunk:
        weights = parent.arrays[node.inputs[1]]
        readers = [each for each in composite.nodes if each.op == "Conv" and same(composite, each, weights)]
        assert len(readers) == 1, node.label


def convolutions(network: Network) -> int:
    """Return how many convolutions a network holds."""
    return sum(node.op == "Conv" for node in network.nodes)


def same(network: Network, node: Node, weights: Array) -> bool:
    """Tell whether a convolution has these weights."""
    return np.array_equal(network.arrays[node.inputs[1]], weights)


def test_the_golden_pair_is_run_again_in_torch_too(folder: Path) -> None:
    pytest.importorskip("torch")
    assert len(flow.check(folder, engine="torch")) == 1
    with pytest.raises(UsageError, match="there is no engine 'abacus'"):
        flow.check(folder, engine="abacus")


def test_a_composite_is_trained_on_in_torch(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    model = flow.load(folder).to_torch()
    x = torch.from_numpy(golden_input(small_network().input, samples=12))
    wanted = torch.arange(12) % 3
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), wanted)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
