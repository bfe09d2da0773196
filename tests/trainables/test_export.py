"""Export of a finished trial: plain tensors, PyTorch pruning and ONNX, each with the logits of the trial."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils import prune

from sparsweep.trainables import export
from sparsweep.trainables.pipeline.device_data import DeviceData, to_float
from sparsweep.trainables.runs.trial import TrialRun
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from support.tiny_trials import create_trainer, inputs, trial


@pytest.fixture
def finished(digits: DeviceData, store: Store) -> TrialRun:
    run = TrialRun(trial(sparsifier="random", sparsity=0.8), inputs(digits), store, "test")
    assert run.run_for(float("inf")).is_finished
    return run


@pytest.fixture
def content(finished: TrialRun, store: Store) -> dict[str, Any]:
    return export.export(store, finished.spec.id)


def trial_logits(run: TrialRun, digits: DeviceData) -> torch.Tensor:
    return run.training.network.logits(digits.test_images)


def test_the_file_has_the_spec_the_masks_and_masked_weights(
    finished: TrialRun, content: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "net.pt").write_bytes(export.to_torch(content))
    loaded = torch.load(tmp_path / "net.pt", weights_only=True)
    assert list(loaded) == ["state_dict", "masks", "spec"]
    assert TrialSpec.model_validate(json.loads(loaded["spec"])["spec"]).id == finished.spec.id
    assert list(loaded["masks"]) == list(finished.training.masks)
    for name, mask in loaded["masks"].items():
        assert mask.dtype is torch.bool and torch.equal(mask, finished.training.masks[name])
        assert not loaded["state_dict"][name][~mask].any() and loaded["state_dict"][name][mask].all()


def test_the_rebuilt_network_gives_the_logits_of_the_trial(
    finished: TrialRun, content: dict[str, Any], digits: DeviceData
) -> None:
    with torch.no_grad():
        logits = export.network(content)(to_float(digits.test_images))
    assert torch.equal(logits, trial_logits(finished, digits))


PLAIN_PYTORCH = """
import sys
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.shortcut(x)).relu()

class Normalize(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 1, 1, 1))
        self.register_buffer("std", torch.zeros(1, 1, 1, 1))

class Net(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.normalize = Normalize()
        self.conv1, self.bn1 = nn.Conv2d(1, w, 3, 1, 1, bias=False), nn.BatchNorm2d(w)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(*shape)) for shape in ((w, w, 1), (w, 2 * w, 2), (2 * w, 4 * w, 2))
        )
        self.linear = nn.Linear(4 * w, 10, bias=False)

    def forward(self, x):
        x = (x - self.normalize.mean) / self.normalize.std
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return self.linear(x.mean((2, 3)))

content, images, out = sys.argv[1:]
net = Net(4)
net.load_state_dict(torch.load(content, weights_only=True)["state_dict"])
torch.set_num_threads(1)
with torch.no_grad():
    torch.save(net.eval()(torch.load(images, weights_only=True)), out)
assert not any(name.startswith(("trainables", "tuner", "analysis")) for name in sys.modules)
"""


def test_plain_pytorch_without_this_package_gives_the_same_logits(
    finished: TrialRun, content: dict[str, Any], digits: DeviceData, tmp_path: Path
) -> None:
    """The network is written again in plain PyTorch, as by a user who has only the file."""
    paths = [tmp_path / name for name in ("net.pt", "images.pt", "logits.pt")]
    paths[0].write_bytes(export.to_torch(content))
    torch.save(to_float(digits.test_images), paths[1])
    command = [sys.executable, "-I", "-c", PLAIN_PYTORCH, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    assert torch.allclose(torch.load(paths[2], weights_only=True), trial_logits(finished, digits), atol=1e-5)


def test_pytorch_pruning_uses_the_masks_and_keeps_them_in_training(
    finished: TrialRun, content: dict[str, Any], digits: DeviceData
) -> None:
    module = export.to_prune(export.network(content), content["masks"])
    images, labels = to_float(digits.test_images[:50]), digits.test_labels[:50]
    with torch.no_grad():
        assert torch.equal(module(to_float(digits.test_images)), trial_logits(finished, digits))
    state = module.state_dict()
    for name, mask in content["masks"].items():
        assert torch.equal(state[f"{name}_mask"].bool(), mask) and f"{name}_orig" in state
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(module(images), labels).backward()
    optimizer.step()
    module(images)
    for name, mask in content["masks"].items():
        layer = module.get_submodule(name.removesuffix(".weight"))
        assert not layer.weight[~mask].any() and not torch.equal(layer.weight, content["state_dict"][name])
        prune.remove(layer, "weight")
    assert set(module.state_dict()) == set(content["state_dict"])


def test_a_static_trial_can_use_the_masks_of_an_export(
    content: dict[str, Any], digits: DeviceData, tmp_path: Path
) -> None:
    (tmp_path / "net.pt").write_bytes(export.to_torch(content))
    spec = trial(sparsifier={"name": "static", "file": str(tmp_path / "net.pt")}, sparsity=0.8, seed=9)
    assert create_trainer(spec, digits).masks.equal(content["masks"])


def test_onnx_gives_the_same_logits_for_any_number_of_images(
    finished: TrialRun, content: dict[str, Any], digits: DeviceData
) -> None:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    model = onnx.load_model_from_string(export.to_onnx(content))
    onnx.checker.check_model(model)
    for count in (1, 7):
        images = to_float(digits.test_images[:count])
        (logits,) = reference.ReferenceEvaluator(model).run(None, {"images": images.numpy()})
        assert torch.allclose(torch.from_numpy(logits), trial_logits(finished, digits)[:count], atol=1e-4)


def test_onnx_export_names_a_missing_package(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ModuleNotFoundError, match=r"needs onnxscript: pip install 'sparsweep\[onnx\]'"):
        export.to_onnx(content)
