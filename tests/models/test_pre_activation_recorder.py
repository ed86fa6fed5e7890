import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import ResNet

from lckd_mm.models import PreActivationRecorder


def _record(network: torch.nn.Module, source: str, x: torch.Tensor) -> tuple:
    recorder = PreActivationRecorder(source)
    recorder.initialize(network)
    with recorder, torch.no_grad():
        output = network(x)
    return recorder.data_buffer, output


@pytest.mark.parametrize('depth', [18, 50])
def test_residual_sum_of_a_stage_is_recorded_before_its_in_place_relu(depth: int) -> None:
    torch.manual_seed(0)
    network = ResNet(depth, base_channels=4, stem_channels=4, out_indices=(0, 1, 2, 3))
    network.eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    x = torch.randn(2, 3, 32, 32)
    expected, stages = [], network(x)
    for stage, before in zip((1, 2), (network.maxpool(F.relu(network.norm1(network.conv1(x)))), stages[0])):
        for block in getattr(network, f'layer{stage}'):
            out = before
            norms = [block.norm1, block.norm2] + ([block.norm3] if depth == 50 else [])
            for i, norm in enumerate(norms):
                out = norm(getattr(block, f'conv{i + 1}')(out if i == 0 else F.relu(out)))
            total = out + (before if block.downsample is None else block.downsample(before))
            before = F.relu(total)
        expected.append(total)
    for stage in (1, 2):
        (recorded,), outputs = _record(network, f'layer{stage}', x)
        torch.testing.assert_close(recorded, expected[stage - 1])
        assert (recorded < 0).any()
        torch.testing.assert_close(outputs[stage - 1], recorded.relu())


def test_module_without_final_activation_is_recorded_by_its_output() -> None:
    network = torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(3, 4, 1)))
    (recorded,), output = _record(network, '0', torch.randn(1, 3, 4, 4))
    assert recorded is output


def test_activation_is_recorded_by_its_input() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU(inplace=True))
    (recorded,), output = _record(network, '1', torch.randn(1, 3, 4, 4))
    assert (recorded < 0).any()
    torch.testing.assert_close(output, recorded.relu())


class _Overwriting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn(self.conv(x))
        out += x
        return out


@pytest.mark.parametrize('copy', [False, True])
def test_later_in_place_operation_is_detected_or_prevented_by_a_copy(copy: bool) -> None:
    network = _Overwriting().eval()
    x = torch.randn(1, 3, 4, 4)
    recorder = PreActivationRecorder('bn', copy=copy)
    recorder.initialize(network)
    with recorder, torch.no_grad():
        network(x)
        expected = network.bn(network.conv(x))
        assert recorder.overwritten() is not copy
        assert torch.equal(recorder.data_buffer[0], expected) is copy
    recorder.reset_data_buffer()
    assert not recorder.overwritten()


@pytest.mark.parametrize('copy', [False, True])
def test_later_in_place_operation_on_one_of_several_outputs_is_detected_or_prevented(copy: bool) -> None:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.split = Split()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second = self.split(x)
            return F.relu(second, inplace=True) + first

    class Split(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x - 1

    recorder = PreActivationRecorder('split', copy=copy)
    network = Network()
    recorder.initialize(network)
    with recorder:
        network(torch.zeros(1, 2, 2, 2))
    assert recorder.overwritten() is not copy
    assert (recorder.get_record_data()[1].min() < 0) == copy


class _Branches(torch.nn.Module):
    """A module of several outputs, as the parallel branches of an HRNet: two end in an activation, one does not."""

    def __init__(self, kind: type = list) -> None:
        super().__init__()
        self.convs = torch.nn.ModuleList([torch.nn.Conv2d(3, 4, 1) for _ in range(3)])
        self.hidden, self.relu, self.kind = torch.nn.ReLU(), torch.nn.ReLU(inplace=True), kind

    def forward(self, x: torch.Tensor) -> list | tuple:
        first, second, third = (conv(x) for conv in self.convs)
        return self.kind([self.relu(first), self.hidden(second) + 1, self.relu(third)])


@pytest.mark.parametrize('kind', [list, tuple])
def test_each_tensor_of_several_is_recorded_before_its_own_activation(kind: type) -> None:
    network, x = torch.nn.Sequential(_Branches(kind)), torch.randn(1, 3, 4, 4)
    recorder = PreActivationRecorder('0')
    recorder.initialize(network)
    for _ in range(2):
        with recorder, torch.no_grad():
            output = network(x)
        (recorded,) = recorder.data_buffer
        assert type(recorded) is kind
        for index in (0, 2):
            torch.testing.assert_close(recorded[index], network[0].convs[index](x))
            torch.testing.assert_close(recorded[index].relu(), output[index])
        assert recorded[1] is output[1]


def test_inputs_of_inner_activations_are_not_kept_for_several_outputs() -> None:
    network, x = torch.nn.Sequential(_Branches()), torch.randn(1, 3, 4, 4)
    recorder = PreActivationRecorder('0')
    recorder.initialize(network)
    counts = []
    network[0].relu.register_forward_hook(lambda *_: counts.append(len(recorder._activations)))
    for _ in range(2):
        with recorder, torch.no_grad():
            network(x)
    # The inner activation is called before the last final one; only the first pass, which does not know them, keeps it.
    assert counts == [1, 3, 1, 2]
