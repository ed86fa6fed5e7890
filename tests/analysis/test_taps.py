import logging

import pytest

from lckd_mm.analysis.taps import list_layers
from lckd_mm.cli import taps
from lckd_mm.cli.taps import main
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import TAPS, classifier
from tests.helpers.tools import ROOT


def test_pairs_of_a_distillation_are_printed_as_part_of_a_config(capsys: pytest.CaptureFixture) -> None:
    main([str(ROOT / 'configs' / 'demo' / 'lckd_resnet_w16_w4_digits.py'), '--size', '16', '16'])
    lines = capsys.readouterr().out.splitlines()
    reason = 'stride 8, grid 2 x 2: last map at stride 8 before its ReLU'
    assert f'  student backbone.layer4: 32 x 2 x 2, {reason}' in lines
    assert f'  teacher backbone.layer4: 128 x 2 x 2, {reason}' in lines
    assert f'    taps={TAPS},' in lines
    assert lines[-1].startswith('The class scores, head.fc of the student and head.fc of the teacher')


def test_the_printed_config_of_token_stages_is_valid(capsys: pytest.CaptureFixture) -> None:
    student, teacher = 'resnet/resnet18_8xb32_in1k.py', 'swin_transformer/swin-tiny_16xb64_in1k.py'
    main([f'mmpretrain::{student}', f'mmpretrain::{teacher}'])
    printed = capsys.readouterr().out
    assert 'teacher backbone.stages.2, data_idx=0: 196 x 384, stride 16, grid 14 x 14: last map' in printed
    # Both networks are probed on an image of 224 x 224 pixels, the size of the teacher.
    assert 'student backbone.layer1: 64 x 56 x 56' in printed
    config: dict = {}
    exec(printed[printed.index('model = ') : printed.index('The class')], config)
    assert config['model']['distiller'] == dict(
        student_taps=TAPS, teacher_taps=[dict(source=f'backbone.stages.{i}', data_idx=0) for i in range(4)]
    )


def test_taps_of_one_model_are_printed(capsys: pytest.CaptureFixture) -> None:
    main(['mmpretrain::resnet/resnet18_8xb16_cifar10.py', '--size', '32', '32'])
    printed = capsys.readouterr().out
    assert printed.startswith('mmpretrain::resnet/resnet18_8xb16_cifar10.py\n')
    assert f'taps={TAPS}' in printed


def test_all_layers_are_listed_with_a_depth(capsys: pytest.CaptureFixture) -> None:
    main(['mmpretrain::resnet/resnet18_8xb16_cifar10.py', '--size', '32', '32', '--depth', '1'])
    printed = capsys.readouterr().out
    assert 'mmpretrain::resnet/resnet18_8xb16_cifar10.py' in printed
    assert '512 x 4 x 4' in printed
    assert 'layer1' not in printed
    main(['mmpretrain::resnet/resnet18_8xb16_cifar10.py', '--size', '32', '32', '--depth', '3'])
    assert 'backbone.layer3.1' in capsys.readouterr().out


def test_size_that_the_model_does_not_accept_is_reported() -> None:
    with pytest.raises(ConfigValueError, match=r'\(0, 8\) pixels.*--size'):
        main(['mmpretrain::resnet/resnet18_8xb16_cifar10.py', '--size', '0', '8'])


def test_layers_of_a_model_of_four_channels_are_listed() -> None:
    model = classifier()
    model['backbone']['in_channels'] = 4
    sources = [tap.source for tap in list_layers(build_model(model), (64, 64))]
    assert 'backbone.layer4' in sources


def test_three_configs_are_too_many(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['a.py', 'b.py', 'c.py'])
    assert '3 configs are too many' in capsys.readouterr().err


def test_messages_of_the_process_are_suppressed_only_while_the_verb_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[bool] = []
    monkeypatch.setattr(taps, 'find_taps', lambda *args, **options: states.append(_reports_warnings()) or [])
    monkeypatch.setattr(taps, 'print_taps', lambda *args: None)
    main(['mmpretrain::resnet/resnet18_8xb16_cifar10.py'])
    assert [*states, _reports_warnings()] == [False, True]


def _reports_warnings() -> bool:
    return logging.getLogger('mmengine').isEnabledFor(logging.WARNING)
