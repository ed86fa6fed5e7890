import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from lckd_mm.errors import ConfigRuntimeError
from lckd_mm.models import LipschitzDistiller, SpectralNormConnector
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import TAPS, build_distillation, classifier, spectral_distiller, train_step


@pytest.mark.parametrize(('adapters', 'count'), [('auto', 4), (True, 4), (False, 0)])
def test_adapters_option_sets_the_number_of_adapters(batch, adapters, count) -> None:
    model = build_distillation(spectral_distiller(adapters=adapters))
    model.init_weights()
    assert len(model.distiller.adapters) == count
    assert train_step(model, batch)['distill.loss_lipschitz'].isfinite()


def test_equal_channel_counts_need_no_adapters_by_default() -> None:
    same = dict(teacher=classifier(18))
    assert len(build_distillation(**same).distiller.adapters) == 0
    assert len(build_distillation(spectral_distiller(adapters=True), **same).distiller.adapters) == 4


def test_distiller_works_in_single_teacher_distill(batch) -> None:
    config = dict(architecture=classifier(), teacher=classifier(50), distiller=spectral_distiller())
    for side in ('architecture', 'teacher'):
        config[side].update(type='ImageClassifier', _scope_='mmpretrain')
    model = MODELS.build(dict(type='SingleTeacherDistill', _scope_='mmrazor', **config))
    assert train_step(model, batch)['distill.loss_lipschitz'].isfinite()


@pytest.mark.parametrize('changes', [dict(taps=TAPS[:1]), dict(taps=[])])
def test_too_few_taps_are_rejected(changes) -> None:
    with pytest.raises(ValueError, match=r'1 feature map|no taps are given'):
        build_distillation(spectral_distiller(**changes))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(taps=['backbone.layr1', *TAPS[1:]]),
            r"student's tap 'backbone.layr1' is unknown; did you mean .*'backbone.layer1'",
        ),
        (dict(teacher_taps=['backbone.layer9', *TAPS[1:]]), "teacher's tap 'backbone.layer9'"),
        (dict(teacher_taps=TAPS[:3]), 'student has 4 taps .* teacher 3 '),
        (dict(taps=[*TAPS, 'head.fc']), r"'head.fc' yields no feature map but shape \(1, 3\)"),
        (dict(taps=[*TAPS, 'neck']), r"'neck' yields no feature map but shape \(1, 32\)"),
        (dict(taps=[TAPS[0], TAPS[0], TAPS[1]]), "student's tap 'backbone.layer1' is named twice"),
        (dict(taps=[*TAPS, dict(source=TAPS[3])]), "student's tap 'backbone.layer4' is named twice"),
        (dict(teacher_taps=[*TAPS[:2], *TAPS[1:3]]), "teacher's tap 'backbone.layer2' is named twice"),
        (dict(taps=[dict(source=TAPS[0], record_idx=0)] * 2), "'backbone.layer1' is named twice"),
        (dict(adapters='all'), "adapters='all'"),
        (dict(adapters=[None]), '1 entries for 4 taps'),
        (dict(probe_size=(0, 0)), r'probe_size=\(0, 0\) is not valid'),
        (dict(probe_size=(64, 64), probe_inputs=(3, 64, 64)), 'are both given'),
        (dict(probe_inputs=dict(rgb=(3, 64, 64), depth=None)), 'contains None, which is no shape'),
        (dict(taps=[*TAPS[:3], dict(source=TAPS[3], grid=14)]), r'has grid=14: give height and width'),
        (dict(connectors={}), "connector 'norms' is unknown"),
        (dict(distill_losses=dict(loss_lip=dict(type='LipschitzLoss'))), "did you mean 'loss_lip'"),
        (dict(loss_forward_mappings=dict(loss_lipschitz={})), 'has no record for'),
        (dict(loss_forward_mappings=dict(loss_lipschitz=dict(pupil={}))), "argument 'pupil' is unknown"),
        (dict(loss_forward_mappings=dict(loss_lipschitz=dict(student=dict(recorder='taps')))), 'from_student'),
    ],
)
def test_wrong_option_is_rejected_at_construction(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_distillation(spectral_distiller(**changes))


def test_adapters_of_a_transformer_have_the_channels_of_its_tokens() -> None:
    transformer = classifier()
    transformer.update(
        backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=64, patch_size=16, out_type='cls_token'),
        neck=None,
        head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=192),
    )
    taps = ['backbone.layers.0', 'backbone.layers.1', 'backbone.layers.2', 'backbone.layers.3']
    model = build_distillation(spectral_distiller(teacher_taps=taps), teacher=transformer)
    assert [a.conv.out_channels for a in model.distiller.adapters.values()] == [192] * 4


def test_non_finite_teacher_map_names_tap_and_iteration(batch) -> None:
    model = build_distillation()
    model.init_weights()
    with torch.no_grad():
        model.teacher.backbone.layer3[0].conv1.weight[0, 0, 0, 0] = torch.inf
    with pytest.raises(RuntimeError, match=r"teacher's tap 'backbone.layer3' is not finite at iteration \d+"):
        train_step(model, batch)


def test_recorded_tensors_are_cleared_after_each_step(batch) -> None:
    model = build_distillation()
    model.init_weights()
    train_step(model, batch)
    for manager in (model.distiller.student_recorders, model.distiller.teacher_recorders):
        assert all(recorder.data_buffer == [] for recorder in manager.recorders.values())


@pytest.mark.parametrize('tap', ['backbone.layer4.1.bn1', 'backbone.layer4.1.bn2'])
def test_map_that_the_network_overwrites_in_place_is_recorded_unchanged(batch, tap) -> None:
    # A ReLU in place comes after bn1, and `out += identity` after bn2.
    model = build_distillation(spectral_distiller(taps=['backbone.layer3', tap]), teacher=classifier(18))
    for network in (model.student, model.teacher):
        torch.nn.init.normal_(network.backbone.layer4[1].bn2.weight)
        network.eval()
    distiller = model.distiller
    with distiller.student_recorders, distiller.teacher_recorders, torch.no_grad():
        model.student(batch[0])
        model.teacher(batch[0])
    for from_student, network in ((True, model.student), (False, model.teacher)):
        backbone, recorded = network.backbone, distiller.network_taps[from_student].read('tap1')
        block = backbone.layer4[1]
        x = backbone.layer4[0](distiller.network_taps[from_student].read('tap0').relu())
        expected = block.bn1(block.conv1(x))
        if tap.endswith('bn2'):
            expected = block.bn2(block.conv2(expected.relu()))
        torch.testing.assert_close(recorded, expected)


def test_tap_overwritten_only_in_training_is_an_error_there(batch) -> None:
    model = build_distillation(spectral_distiller(taps=['backbone.layer3', 'backbone.layer4.1.bn1']))
    model.init_weights()
    model.student.backbone.layer4[1].relu.inplace = True
    with pytest.raises(RuntimeError, match=r"student's tap 'backbone.layer4.1.bn1' was overwritten.*copy=True"):
        train_step(model, batch)


def test_soft_targets_of_different_class_counts_are_rejected(batch) -> None:
    side = dict(logits=dict(type='ModuleOutputs', source='head.fc'))
    distiller = dict(
        type='LipschitzDistiller',
        student_recorders=side,
        teacher_recorders=side,
        distill_losses=dict(loss_kd=dict(type='KLDivergence', tau=4)),
        loss_forward_mappings=dict(
            loss_kd=dict(
                preds_S=dict(from_student=True, recorder='logits'), preds_T=dict(from_student=False, recorder='logits')
            )
        ),
    )
    model = build_distillation(distiller)
    model.init_weights()
    assert train_step(model, batch)['distill.loss_kd'].isfinite()
    with pytest.raises(ValueError, match=r"'preds_S': \(1, 3\), 'preds_T': \(1, 5\)"):
        build_distillation(distiller, teacher=classifier(50, num_classes=5))


def test_side_effects_on_the_models_are_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    modules = ('lckd_mm.models.algorithms.lipschitz_distill', 'lckd_mm.models.distillers.lipschitz_distiller')
    for module in modules:
        monkeypatch.setattr(f'{module}.print_log', lambda message, **_: messages.append(message))
    taps = ['backbone.layer3', 'backbone.layer4.1.bn2']
    build_distillation(spectral_distiller(taps=taps), teacher=classifier(18))
    copied = [message for message in messages if 'recorded as copies' in message]
    assert len(copied) == 2
    assert all("['backbone.layer4.1.bn2']" in message for message in copied)
    assert len([message for message in messages if 'of the student compute out of place' in message]) == 1


def test_an_adapter_runs_once_per_step_for_all_losses(batch: tuple) -> None:
    losses = ['lipschitz', 'pkd', dict(type='cwd', taps=['backbone.layer4'])]
    model = build_distillation(dict(type='LipschitzDistiller', taps=TAPS, losses=losses, adapters=True))
    model.init_weights()
    calls: list[nn.Module] = []
    for adapter in model.distiller.adapters.values():
        adapter.register_forward_hook(lambda module, *_: calls.append(module))
    for _ in range(2):
        train_step(model, batch)
        assert sorted(map(id, calls)) == sorted(map(id, model.distiller.adapters.values()))
        calls.clear()


def test_record_without_adapter_is_the_tap_itself(batch: tuple) -> None:
    model = build_distillation()
    distiller = model.distiller
    with distiller.student_recorders, torch.no_grad():
        model.student(batch[0])
    raw, adapted = (distiller.get_record(['tap0'], from_student=True, adapt=adapt)[0] for adapt in (False, True))
    assert raw is distiller.network_taps[True].read('tap0')
    assert (raw.shape[1], adapted.shape[1]) == (4, 16)


def test_a_record_of_one_map_in_a_tuple_stays_a_tuple() -> None:
    """A backbone with one output returns a tuple, over which a loss of maps iterates."""
    recorders = dict(
        backbone=dict(type='ModuleOutputs', source='backbone'), layer=dict(type='ModuleOutputs', source=TAPS[0])
    )
    distiller = LipschitzDistiller(student_recorders=recorders, teacher_recorders=recorders)
    models = [build_model(classifier()), build_model(classifier())]
    distiller.prepare_from_student(models[0])
    distiller.prepare_from_teacher(models[1])
    with distiller.student_recorders, torch.no_grad():
        models[0](torch.randn(2, 3, 32, 32))
    (feature,) = distiller.get_record('backbone', from_student=True)
    assert feature is distiller.network_taps[True].read('backbone')[0]
    assert torch.is_tensor(distiller.get_record('layer', from_student=True))


def test_a_layer_may_be_recorded_in_two_ways_and_in_two_losses(batch) -> None:
    other = dict(type='ModuleOutputs', source=TAPS[0])
    model = build_distillation(spectral_distiller(taps=[TAPS[0], other, TAPS[1]]))
    model.init_weights()
    assert train_step(model, batch)['distill.loss_lipschitz'].isfinite()
    losses = [dict(type='lipschitz', taps=TAPS[:2]), dict(type='fitnet', taps=TAPS[1:2])]
    model = build_distillation(dict(type='LipschitzDistiller', losses=losses))
    model.init_weights()
    assert train_step(model, batch)['distill.loss_fitnet'].isfinite()


@pytest.mark.parametrize('network', ['student', 'teacher'])
def test_a_tap_that_a_training_step_does_not_reach_is_an_error(network: str, batch: tuple) -> None:
    from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval

    model = build_distillation()
    model.init_weights()
    # It traces the network and inlines its layers, so that no recorder is called.
    turn_on_efficient_conv_bn_eval(getattr(model, network), ['backbone'])
    with pytest.raises(
        ConfigRuntimeError, match=rf"the {network}'s tap 'backbone.layer1' recorded nothing .*`efficient_conv_bn_eval`"
    ):
        train_step(model, batch)


def test_the_norms_of_both_networks_are_computed_together(batch: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_distillation()
    model.init_weights()
    alone = train_step(model, batch)['distill.loss_lipschitz']
    calls = []
    original = SpectralNormConnector.forward_networks

    def forward_networks(self: SpectralNormConnector, networks: list, *args: object, **kwargs: object) -> list:
        calls.append([len(maps) for maps in networks])
        return original(self, networks, *args, **kwargs)

    monkeypatch.setattr(SpectralNormConnector, 'forward_networks', forward_networks)
    torch.testing.assert_close(train_step(model, batch)['distill.loss_lipschitz'], alone, rtol=1e-3, atol=0)
    assert calls == [[4, 4]]
    assert {name: norms.shape for name, norms in model.distiller.spectral_norms['loss_lipschitz'].items()} == dict(
        student=(3, 4), teacher=(3, 4)
    )


def test_a_connector_that_overrides_forward_is_called_for_each_network(batch: tuple) -> None:
    @MODELS.register_module(force=True)
    class DoubledNorms(SpectralNormConnector):
        def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
            return 2 * super().forward(*args, **kwargs)

    norms = []
    for name in ('SpectralNormConnector', 'DoubledNorms'):
        model = build_distillation(spectral_distiller(connectors=dict(norms=dict(type=name))))
        model.init_weights()
        train_step(model, batch)
        norms.append(model.distiller.spectral_norms['loss_lipschitz']['teacher'])
    torch.testing.assert_close(norms[1], 2 * norms[0])
