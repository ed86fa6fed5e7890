import dataclasses
from typing import Any

import pytest
import torch

import lckd_mm  # noqa: F401  (patches the installed libraries, so that mmdet can be imported)
from lckd_mm.spectral import autograd
from lckd_mm.spectral.planning import Plan, make_plan


@pytest.fixture(params=['in chunks', 'jointly'])
def every_solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the plans for CPUs and with those for GPUs."""

    def make_joint_plan(pairs: tuple, batch_size: int, method: str, *args: Any) -> Plan:
        return dataclasses.replace(make_plan(pairs, batch_size, method, *args), joint=method == 'lanczos')

    if request.param == 'jointly':
        monkeypatch.setattr(autograd, 'make_plan', make_joint_plan)


@pytest.fixture(scope='session')
def pre_activations(photographs: torch.Tensor) -> list[torch.Tensor]:
    """Return the sums before the last ReLU of the four stages of a ResNet-50 with random weights and BN scales."""
    from mmdet.models.backbones import ResNet

    torch.manual_seed(0)
    network = ResNet(depth=50, norm_eval=False)
    network.train()
    network.init_weights()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.2, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, torch.nn.ReLU):
            module.inplace = False
    relu_inputs: list[torch.Tensor] = []
    for stage in (1, 2, 3, 4):
        relu = getattr(network, f'layer{stage}')[-1].relu
        relu.register_forward_pre_hook(lambda _, inputs: relu_inputs.append(inputs[0]))
    with torch.no_grad():
        network(photographs)
    # A bottleneck calls its ReLU three times; the third input is the sum.
    return relu_inputs[2::3]
