import pytest

from lckd_mm.analysis.taps import Tap, find_taps, suggest_pairs
from lckd_mm.cli.taps import main
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import classifier
from tests.helpers.tools import ROOT


@pytest.fixture(autouse=True)
def _enabled_logging() -> None:
    """The verb disables warnings of the process."""
    import logging

    yield
    logging.disable(logging.NOTSET)


def test_taps_are_listed_with_their_shapes_and_pairs_suggested(capsys: pytest.CaptureFixture) -> None:
    main([str(ROOT / 'configs' / 'demo' / 'lckd_resnet_w16_w4_digits.py'), '--size', '16', '16'])
    printed = capsys.readouterr().out
    for text in ('backbone.layer3', '16 x 4 x 4', '64 x 4 x 4', 'ReLU'):
        assert text in printed
    # Strides 4 and 8; the stages before them, at 1 and 2, have small receptive fields.
    assert "student_taps=['backbone.layer3', 'backbone.layer4']" in printed
    assert "teacher_taps=['backbone.layer3', 'backbone.layer4']" in printed


def test_taps_of_token_stages_contain_the_index_of_their_output(capsys: pytest.CaptureFixture) -> None:
    student, teacher = 'resnet/resnet18_8xb32_in1k.py', 'swin_transformer/swin-tiny_16xb64_in1k.py'
    main([f'mmpretrain::{student}', f'mmpretrain::{teacher}'])
    printed = capsys.readouterr().out
    assert 'backbone.stages.2, data_idx=0' in printed
    assert '196 x 384' in printed
    assert "student_taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'backbone.layer4']" in printed


def test_one_model_is_listed_by_its_config(capsys: pytest.CaptureFixture) -> None:
    main(['mmpretrain::resnet/resnet18_8xb16_cifar10.py', '--size', '32', '32', '--depth', '1'])
    printed = capsys.readouterr().out
    assert 'mmpretrain::resnet/resnet18_8xb16_cifar10.py, image of 32 x 32' in printed
    assert 'Suggestion' not in printed


def test_size_that_the_model_does_not_accept_is_reported() -> None:
    with pytest.raises(ConfigValueError, match=r'\(0, 8\) pixels.*--size'):
        main(['mmpretrain::resnet/resnet18_8xb16_cifar10.py', '--size', '0', '8'])


def test_taps_of_a_model_of_four_channels_are_found() -> None:
    model = classifier()
    model['backbone']['in_channels'] = 4
    sources = [tap.source for tap in find_taps(build_model(model), (64, 64))]
    assert 'backbone.layer4' in sources


def test_three_configs_are_too_many(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['a.py', 'b.py', 'c.py'])
    assert '3 configs are too many' in capsys.readouterr().err


def test_backbones_without_common_strides_are_reported() -> None:
    student = [Tap('backbone.layer1', None, (1, 8, 8, 8), 4, '')]
    teacher = [Tap('backbone.stages.0', 0, (1, 64, 8), 8, '')]
    with pytest.raises(ConfigValueError, match=r'strides \[\] in common'):
        suggest_pairs(student, teacher)
