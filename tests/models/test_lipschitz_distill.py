import copy
import os

import pytest
import torch
from mmrazor.registry import MODELS

from lckd_mm.models.algorithms.lipschitz_distill import build_model

from .conftest import TAPS, classifier, spectral_distiller


def _train_step(model: torch.nn.Module, batch: tuple) -> dict:
    model.train()
    losses = model(*batch, mode='loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses


def test_student_and_adapters_learn_and_the_teacher_does_not(build, batch) -> None:
    model = build()
    model.init_weights()
    before = copy.deepcopy(model.teacher.state_dict())
    losses = _train_step(model, batch)
    assert losses['distill.loss_lipschitz'] > 0
    assert all(p.grad is not None for p in model.student.parameters())
    assert [a.conv.out_channels for a in model.distiller.adapters.values()] == [16, 32, 64, 128]
    assert all(p.grad.abs().sum() > 0 for a in model.distiller.adapters.values() for p in [a.conv.weight])
    assert all(p.grad is None for p in model.teacher.parameters())
    torch.testing.assert_close(model.teacher.state_dict(), before, rtol=0, atol=0)


def test_stopped_teacher_records_the_same_bits_and_runs_no_head(build, batch) -> None:
    model = build()
    model.init_weights()
    ran = []
    model.teacher.head.register_forward_hook(lambda *_: ran.append('head'))
    recorders = model.distiller.teacher_recorders

    def records(function) -> list:
        with recorders, torch.no_grad():
            function()
        return [r.get_record_data() for r in recorders.recorders.values()]

    stopped = records(lambda: model._teacher_stop.run(model.teacher, *batch, mode='loss'))
    assert ran == []
    whole = records(lambda: model.teacher(*batch, mode='tensor'))
    assert all(torch.equal(a, b) for a, b in zip(stopped, whole))
    assert len(stopped) == 4


@pytest.mark.parametrize(('adapters', 'count'), [('auto', 4), (True, 4), (False, 0)])
def test_adapters_where_they_are_wanted(build, batch, adapters, count) -> None:
    model = build(spectral_distiller(adapters=adapters))
    model.init_weights()
    assert len(model.distiller.adapters) == count
    assert _train_step(model, batch)['distill.loss_lipschitz'].isfinite()


def test_no_adapters_where_channels_agree_unless_told_to(build) -> None:
    same = dict(teacher=classifier(18))
    assert len(build(**same).distiller.adapters) == 0
    assert len(build(spectral_distiller(adapters=True), **same).distiller.adapters) == 4


def test_plain_configurable_distiller_works_with_connector_and_loss(build, batch) -> None:
    recorder = dict(backbone=dict(type='ModuleOutputs', source='backbone'))
    distiller = spectral_distiller(type='ConfigurableDistiller', student_recorders=recorder, teacher_recorders=recorder)
    del distiller['taps']
    for record in distiller['loss_forward_mappings']['loss_lipschitz'].values():
        record['recorder'] = 'backbone'
    every_stage = classifier()
    every_stage['backbone']['out_indices'] = (0, 1, 2, 3)
    model = build(distiller, architecture=every_stage, teacher=copy.deepcopy(every_stage))
    model.init_weights()
    assert _train_step(model, batch)['distill.loss_lipschitz'].isfinite()


def test_distiller_works_in_mmrazors_own_algorithm(build, batch) -> None:
    config = dict(architecture=classifier(), teacher=classifier(50), distiller=spectral_distiller())
    for side in ('architecture', 'teacher'):
        config[side].update(type='ImageClassifier', _scope_='mmpretrain')
    model = MODELS.build(dict(type='SingleTeacherDistill', **config))
    assert _train_step(model, batch)['distill.loss_lipschitz'].isfinite()


def test_ofd_beside_it_gets_its_margins_from_the_teachers_bn(build, batch) -> None:
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
    model = build(distiller, teacher=classifier(18))
    torch.nn.init.uniform_(model.teacher.get_submodule(tap).weight, 0.5, 1.5)
    model.teacher._is_init = True
    model.init_weights()
    # E[x | x < 0] of a normal with mean 0 and deviation s is -s sqrt(2 / pi).
    expected = -model.teacher.get_submodule(tap).weight * (2 / torch.pi) ** 0.5
    torch.testing.assert_close(model.distiller.connectors['margin'].margin.flatten(), expected.detach())
    assert _train_step(model, batch)['distill.loss_ofd'] > 0


def test_cfg_path_takes_cfg_options() -> None:
    from lckd_mm.models.algorithms.lipschitz_distill import build_model

    model = build_model(
        dict(
            cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py',
            cfg_options={'head.num_classes': 7, 'backbone.base_channels': 8, 'head.in_channels': 64},
        )
    )
    assert model.head.fc.weight.shape == (7, 64)
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx([125.307, 122.961, 113.8575])


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        (dict(cfg_path='mmpretrain::resnet/resnet17.py'), FileNotFoundError, 'resnet17.py'),
        (dict(cfg_path='nowhere.py'), FileNotFoundError, 'nowhere.py'),
        (dict(cfg_path='mmpretrain::_base_/default_runtime.py'), ValueError, 'no `model`'),
        (dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', num_classes=3), ValueError, 'cfg_options={'),
    ],
)
def test_bad_cfg_path_is_refused(config: dict, error: type, message: str) -> None:
    from lckd_mm.models.algorithms.lipschitz_distill import build_model

    with pytest.raises(error, match=message):
        build_model(config)


def test_checkpoint_holds_no_teacher_and_loads_without_a_word(build) -> None:
    model = build()
    state = model.state_dict()
    assert not any(k.startswith('teacher.') for k in state)
    assert any(k.startswith('distiller.adapters.tap0') for k in state)
    result = build().load_state_dict(state)
    assert not result.missing_keys
    assert not result.unexpected_keys


@pytest.mark.parametrize('changes', [dict(taps=TAPS[:1]), dict(taps=[])])
def test_too_few_taps_are_refused(build, changes) -> None:
    with pytest.raises(ValueError, match=r'1 feature map|no taps are given'):
        build(spectral_distiller(**changes))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(taps=['backbone.layr1', *TAPS[1:]]),
            r"student's tap 'backbone.layr1' is unknown; did you mean .*'backbone.layer1'",
        ),
        (dict(teacher_taps=['backbone.layer9', *TAPS[1:]]), "teacher's tap 'backbone.layer9'"),
        (dict(teacher_taps=TAPS[:3]), 'student has 4 taps .* teacher 3'),
        (dict(taps=[*TAPS, 'head.fc']), r"'head.fc' yields no feature map but shape \(1, 3\)"),
        (dict(taps=[*TAPS, 'neck']), r"'neck' yields no feature map but shape \(1, 32\)|a tuple of 1"),
        (dict(taps=['backbone', *TAPS]), "'backbone' yields a tuple of"),
        (dict(adapters='all'), "adapters='all'"),
        (dict(adapters=[None]), '1 entries for 4 taps'),
        (dict(probe_size=(0, 0)), 'probe image of 0 x 0'),
        (dict(connectors={}), "connector 'norms' is unknown"),
        (dict(distill_losses=dict(loss_lip=dict(type='LipschitzLoss'))), "did you mean 'loss_lip'"),
        (dict(loss_forward_mappings=dict(loss_lipschitz={})), 'says nothing of'),
        (dict(loss_forward_mappings=dict(loss_lipschitz=dict(pupil={}))), "argument 'pupil' is unknown"),
        (dict(loss_forward_mappings=dict(loss_lipschitz=dict(student=dict(recorder='taps')))), 'from_student'),
    ],
)
def test_a_set_up_that_does_not_fit_is_refused_at_construction(build, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        build(spectral_distiller(**changes))


def test_maps_that_cannot_be_paired_are_refused(build) -> None:
    transformer = classifier()
    transformer.update(
        backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=64, patch_size=16, out_type='cls_token'),
        neck=None,
        head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=192),
    )
    taps = ['backbone.layers.0', 'backbone.layers.1', 'backbone.layers.2', 'backbone.layers.3']
    model = build(spectral_distiller(teacher_taps=taps), teacher=transformer)
    assert [a.conv.out_channels for a in model.distiller.adapters.values()] == [192] * 4
    with pytest.raises(
        ValueError, match=r"'backbone.patch_embed.projection' and 'backbone.layers.1' cannot be paired: 65 tokens"
    ):
        build(spectral_distiller(teacher_taps=['backbone.patch_embed.projection', *taps[1:]]), teacher=transformer)


def test_a_random_teacher_is_refused_unless_allowed(build, batch) -> None:
    model = build(allow_random_teacher=False)
    with pytest.raises(ValueError, match='teacher_ckpt is None'):
        model.init_weights()
    with pytest.raises(RuntimeError, match='init_weights'):
        model(*batch, mode='loss')


@pytest.fixture
def teacher_state(build) -> dict:
    return build().teacher.state_dict()


def _refusal(build, path, error: type = ValueError) -> str:
    with pytest.raises(error) as caught:
        build(teacher_ckpt=str(path), allow_random_teacher=False).init_weights()
    return str(caught.value)


def test_teacher_checkpoint_is_loaded(build, teacher_state, tmp_path) -> None:
    changed = {k: v + 1 if v.is_floating_point() else v for k, v in teacher_state.items()}
    torch.save(dict(state_dict={f'module.{k}': v for k, v in changed.items()}), tmp_path / 'teacher.pth')
    model = build(teacher_ckpt=str(tmp_path / 'teacher.pth'), allow_random_teacher=False)
    model.init_weights()
    torch.testing.assert_close(dict(model.teacher.state_dict()), changed, rtol=0, atol=0)
    assert not model.teacher.training


def test_a_distilled_student_can_be_the_next_teacher(build, teacher_state, tmp_path) -> None:
    torch.save(dict(state_dict={f'architecture.{k}': v for k, v in teacher_state.items()}), tmp_path / 'distilled.pth')
    build(teacher_ckpt=str(tmp_path / 'distilled.pth'), allow_random_teacher=False).init_weights()


def test_a_missing_teacher_checkpoint_is_refused(build) -> None:
    assert 'nowhere.pth' in _refusal(build, 'nowhere.pth', FileNotFoundError)


def test_an_unreadable_teacher_checkpoint_is_refused(build, tmp_path) -> None:
    (tmp_path / 'cut.pth').write_bytes(b'PK\x03\x04 cut off')
    assert 'cannot be read' in _refusal(build, tmp_path / 'cut.pth')


def test_a_teacher_checkpoint_that_does_not_match_is_told_key_by_key(build, teacher_state, tmp_path) -> None:
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict=dict(teacher_state, **{'head.fc.weight': torch.zeros(9, 128)})), path)
    said = _refusal(build, path)
    assert '1 (head.fc.weight) have another shape (head.fc.weight: (9, 128) in the file, (3, 128) in the model)' in said

    torch.save(
        dict(state_dict={k: v for k, v in teacher_state.items() if 'fc' not in k} | {'extra': torch.zeros(1)}), path
    )
    said = _refusal(build, path)
    assert '2 (head.fc.weight, head.fc.bias) are missing' in said
    assert '1 (extra) are not in the model' in said


def test_non_finite_teacher_features_name_the_tap_and_the_iteration(build, batch) -> None:
    model = build()
    model.init_weights()
    with torch.no_grad():
        model.teacher.backbone.layer3[0].conv1.weight[0, 0, 0, 0] = torch.inf
    with pytest.raises(RuntimeError, match=r"teacher's tap 'backbone.layer3' is not finite at iteration \d+"):
        _train_step(model, batch)


def test_records_are_let_go_of_after_each_step(build, batch) -> None:
    model = build()
    model.init_weights()
    _train_step(model, batch)
    for manager in (model.distiller.student_recorders, model.distiller.teacher_recorders):
        assert all(recorder.data_buffer == [] for recorder in manager.recorders.values())


class _Code:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f'touch {self.marker}',)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_teacher_checkpoint_that_carries_code_is_refused_and_runs_nothing(
    build, teacher_state, tmp_path, zipped
) -> None:
    path, marker = tmp_path / 'code.pth', tmp_path / 'ran'
    torch.save(dict(state_dict=teacher_state, meta=_Code(str(marker))), path, _use_new_zipfile_serialization=zipped)
    assert 'system' in _refusal(build, path)
    assert not marker.exists()


@pytest.mark.parametrize('tap', ['backbone.layer4.1.bn1', 'backbone.layer4.1.bn2'])
def test_what_a_network_overwrites_in_place_is_recorded_as_it_was(build, batch, tap) -> None:
    # A ReLU in place comes after bn1, and `out += identity` after bn2.
    model = build(spectral_distiller(taps=['backbone.layer3', tap]), teacher=classifier(18))
    for network in (model.student, model.teacher):
        torch.nn.init.normal_(network.backbone.layer4[1].bn2.weight)
        network.eval()
    distiller = model.distiller
    with distiller.student_recorders, distiller.teacher_recorders, torch.no_grad():
        model.student(batch[0])
        model.teacher(batch[0])
    for from_student, network in ((True, model.student), (False, model.teacher)):
        backbone, recorded = network.backbone, distiller._recorded('tap1', from_student, {})
        block = backbone.layer4[1]
        x = backbone.layer4[0](distiller._recorded('tap0', from_student, {}).relu())
        expected = block.bn1(block.conv1(x))
        if tap.endswith('bn2'):
            expected = block.bn2(block.conv2(expected.relu()))
        torch.testing.assert_close(recorded, expected)


def test_a_tap_that_is_overwritten_only_in_training_is_refused_there(build, batch) -> None:
    model = build(spectral_distiller(taps=['backbone.layer3', 'backbone.layer4.1.bn1']))
    model.init_weights()
    model.student.backbone.layer4[1].relu.inplace = True
    with pytest.raises(RuntimeError, match=r"student's tap 'backbone.layer4.1.bn1' was overwritten.*copy=True"):
        _train_step(model, batch)


def _ofd_distiller(**changes) -> dict:
    config = spectral_distiller(**changes)
    config['connectors'] = dict(config['connectors'], margins=dict(type='MarginConnector'))
    config['distill_losses'] = dict(config['distill_losses'], loss_ofd=dict(type='OverhaulLoss'))
    config['loss_forward_mappings'] = dict(
        config['loss_forward_mappings'],
        loss_ofd=dict(
            student=dict(from_student=True, recorder='taps'),
            teacher=dict(from_student=False, recorder='taps', connector='margins'),
        ),
    )
    return config


def test_ofd_of_stages_takes_the_margins_of_their_last_blocks_last_bn(build, batch) -> None:
    model = build(_ofd_distiller())
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
    losses = _train_step(model, batch)
    assert losses['distill.loss_ofd'] > 0
    assert losses['distill.loss_lipschitz'].isfinite()


def test_a_margin_is_defined_where_a_bn_is_zero_or_all_above_zero(build) -> None:
    bn = torch.nn.BatchNorm2d(4)
    bn.weight.data = torch.tensor([0.0, 0.0, 0.1, 1.0])
    bn.bias.data = torch.tensor([-2.0, 2.0, 5.0, 0.0])
    margin = build(_ofd_distiller()).distiller._get_margin_from_BN(bn)
    torch.testing.assert_close(margin.flatten(), torch.tensor([-2.0, 0.0, -0.3, -((2 / torch.pi) ** 0.5)]))


def test_a_tap_may_name_the_bn_of_its_margin(build) -> None:
    taps = ['backbone.layer3', dict(source='backbone.layer4', margin='backbone.layer4.0.bn3')]
    model = build(_ofd_distiller(teacher_taps=taps, taps=['backbone.layer3', 'backbone.layer4']))
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
            "'backbone.layer4' is what a ResLayer puts out.*PreActiv",
        ),
        (['backbone.layer4.1.conv2'], r"'backbone.layer4.1.conv2' does not end in a BN.*margin='\.\.\.'"),
        ([dict(source='backbone.layer4', margin='backbone.layer4.1.bn')], r"'backbone.layer4.1.bn' is unknown.*bn1"),
        ([dict(source='backbone.layer4', margin='backbone.layer3.1.bn1')], r'128 channels.*layer3.1.bn1, 16'),
    ],
)
def test_ofd_refuses_a_tap_without_a_bn_before_its_relu(build, taps, message) -> None:
    with pytest.raises(ValueError, match=message):
        build(_ofd_distiller(taps=['backbone.layer3', *taps]))


def test_soft_targets_of_the_heads_are_reached_and_of_other_class_counts_refused(build, batch) -> None:
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
    model = build(distiller)
    model.init_weights()
    assert _train_step(model, batch)['distill.loss_kd'].isfinite()
    with pytest.raises(ValueError, match=r"'preds_S': \(1, 3\), 'preds_T': \(1, 5\)"):
        build(distiller, teacher=classifier(50, num_classes=5))


def test_a_data_sets_preprocessor_is_one_of_the_students(build, caplog) -> None:
    model = build(data_preprocessor=dict(num_classes=3, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]))
    assert type(model.data_preprocessor) is type(model.student.data_preprocessor)
    assert model.data_preprocessor.mean.flatten().tolist() == [1.0, 2.0, 3.0]


def test_taps_that_the_runner_replaces_are_followed(build, batch) -> None:
    # Without a process group mmengine's Runner makes a BN of every SyncBN, after the model was built.
    from mmengine.model import revert_sync_batchnorm

    sync = classifier(18)
    sync['backbone']['norm_cfg'] = dict(type='SyncBN', requires_grad=True)
    model = build(
        _ofd_distiller(taps=['backbone.layer3', 'backbone.layer4.1.bn1']),
        architecture=sync,
        teacher=copy.deepcopy(sync),
    )
    model = revert_sync_batchnorm(model)
    model.init_weights()
    losses = _train_step(model, batch)
    assert losses['distill.loss_lipschitz'] > 0
    assert model._teacher_stop.run(model.teacher, batch[0]) is False
    with model.distiller.teacher_recorders:
        assert model._teacher_stop.run(model.teacher, batch[0]) is True


def test_the_student_starts_from_the_weights_and_random_numbers_it_has_alone(build) -> None:
    torch.manual_seed(0)
    alone = build_model(classifier())
    alone.init_weights()
    drawn = torch.rand(3)
    model = build(spectral_distiller(adapters=True))
    model.init_weights()
    torch.testing.assert_close(torch.rand(3), drawn)
    assert all(torch.equal(p, q) for p, q in zip(model.architecture.parameters(), alone.parameters()))
    # The rest was initialised after it.
    assert all(module.is_init for module in (model.architecture, model.teacher))
