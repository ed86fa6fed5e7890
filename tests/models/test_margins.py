import pytest
import torch

from lckd_mm.models.distillers.margins import margin_from_bn
from tests.helpers.small_classifiers import (
    build_distillation,
    classifier,
    ofd_distiller,
    spectral_distiller,
    train_step,
)


def test_ofd_teacher_connector_receives_margins_from_the_teachers_bn(batch) -> None:
    tap = 'backbone.layer4.1.bn2'
    distiller = spectral_distiller(
        taps=['backbone.layer3.1.bn2', tap],
        adapters=True,
        connectors=dict(norms=dict(type='SpectralNormConnector'), margin=dict(type='OFDTeacherConnector')),
        distill_losses=dict(loss_lipschitz=dict(type='LipschitzLoss'), loss_ofd=dict(type='OFDLoss')),
    )
    distiller['loss_forward_mappings'] = dict(
        distiller['loss_forward_mappings'],
        loss_ofd=dict(
            s_feature=dict(from_student=True, recorder='tap1'),
            t_feature=dict(from_student=False, recorder='tap1', connector='margin'),
        ),
    )
    model = build_distillation(distiller, teacher=classifier(18))
    torch.nn.init.uniform_(model.teacher.get_submodule(tap).weight, 0.5, 1.5)
    model.teacher._is_init = True
    model.init_weights()
    # E[x | x < 0] of a normal with mean 0 and deviation s is -s sqrt(2 / pi).
    expected = -model.teacher.get_submodule(tap).weight * (2 / torch.pi) ** 0.5
    torch.testing.assert_close(model.distiller.connectors['margin'].margin.flatten(), expected.detach())
    assert train_step(model, batch)['distill.loss_ofd'] > 0


def test_ofd_margins_of_a_stage_come_from_the_last_bn_of_its_last_block(batch) -> None:
    model = build_distillation(ofd_distiller())
    backbone = model.teacher.backbone
    expected = []
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        bn = stage[-1].bn3
        torch.nn.init.uniform_(bn.weight, 0.5, 1.5)
        torch.nn.init.normal_(bn.bias, std=0.3)
        samples = torch.randn(200_000, 1, dtype=torch.float64) * bn.weight + bn.bias
        negative = samples < 0
        expected.append((samples * negative).sum(0) / negative.sum(0))
    model.teacher._is_init = True
    model.init_weights()
    for margin, mean in zip(model.distiller.connectors['margins'].margins, expected):
        torch.testing.assert_close(margin.flatten().double(), mean, rtol=0.05, atol=0.02)
    losses = train_step(model, batch)
    assert losses['distill.loss_ofd'] > 0
    assert losses['distill.loss_lipschitz'].isfinite()


def test_margin_is_defined_for_zero_weights_and_positive_maps() -> None:
    bn = torch.nn.BatchNorm2d(4)
    bn.weight.data = torch.tensor([0.0, 0.0, 0.1, 1.0])
    bn.bias.data = torch.tensor([-2.0, 2.0, 5.0, 0.0])
    margin = margin_from_bn(bn)
    torch.testing.assert_close(margin.flatten(), torch.tensor([-2.0, 0.0, -0.3, -((2 / torch.pi) ** 0.5)]))


def test_tap_can_name_its_margin_bn() -> None:
    taps = ['backbone.layer3', dict(source='backbone.layer4', margin='backbone.layer4.0.bn3')]
    model = build_distillation(ofd_distiller(teacher_taps=taps, taps=['backbone.layer3', 'backbone.layer4']))
    bn = model.teacher.backbone.layer4[0].bn3
    torch.nn.init.constant_(bn.weight, 2)
    model.distiller.init_ofd_connectors(model.teacher)
    torch.testing.assert_close(
        model.distiller.connectors['margins'].margins[1].flatten(), torch.full((128,), -2 * (2 / torch.pi) ** 0.5)
    )


@pytest.mark.parametrize(
    ('taps', 'message'),
    [
        (
            [dict(source='backbone.layer4', type='ModuleOutputs')],
            "'backbone.layer4' is the output of a ResLayer.*PreActiv",
        ),
        (['backbone.layer4.1.conv2'], r"'backbone.layer4.1.conv2' does not end in a BN.*margin='\.\.\.'"),
        ([dict(source='backbone.layer4', margin='backbone.layer4.1.bn')], r"'backbone.layer4.1.bn' is unknown.*bn1"),
        ([dict(source='backbone.layer4', margin='backbone.layer3.1.bn1')], '128 channels.*layer3.1.bn1, has 16'),
    ],
)
def test_ofd_rejects_a_tap_without_a_bn_before_its_relu(taps, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_distillation(ofd_distiller(taps=['backbone.layer3', *taps]))
