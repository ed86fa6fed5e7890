"""Losses by name: their expansion into MMRazor's recorders, connectors and losses, and that the expansion trains the same."""

import copy
from collections import OrderedDict
from typing import Any

import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from lckd_mm.cli.memory_format import to_channels_last
from lckd_mm.errors import ConfigError, ConfigValueError
from lckd_mm.models.losses import DecoupledLoss
from lckd_mm.models.presets import PRESETS, expand_distiller
from tests.helpers.small_classifiers import TAPS, build_distillation, classifier, ofd_distiller, train_step

MAP_METHODS = [name for name, preset in PRESETS.items() if preset.reads == 'taps']
LOGIT_METHODS = [name for name, preset in PRESETS.items() if preset.reads == 'logits']


def distiller(losses: Any, **options: Any) -> dict:
    return dict(type='LipschitzDistiller', taps=TAPS, losses=losses, **options)


def first_losses(config: dict, batch: tuple, **changes: Any) -> dict:
    model = build_distillation(config, **changes)
    model.init_weights()
    # MGD draws random masks.
    torch.manual_seed(0)
    losses = train_step(model, batch)
    return {name: value.item() for name, value in losses.items() if name.startswith('distill.')}


def test_all_promised_methods_have_a_preset() -> None:
    expected = {'lipschitz', 'ofd', 'kd', 'dkd', 'dist', 'pkd', 'cwd', 'at', 'mgd', 'fitnet', 'rkd'}
    assert expected == PRESETS.keys()


@pytest.mark.parametrize('method', sorted(PRESETS))
def test_every_method_trains_student_and_reaches_its_backbone(method: str, batch: tuple) -> None:
    model = build_distillation(distiller([method]))
    model.init_weights()
    model.train()
    losses = model(*batch, mode='loss')
    distill = {name: value for name, value in losses.items() if name.startswith(f'distill.loss_{method}')}
    assert distill
    sum(distill.values()).backward()
    assert sum(p.grad.abs().sum() for p in model.student.backbone.parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize('method', sorted(PRESETS))
def test_expanded_config_gives_the_same_first_loss(method: str, batch: tuple) -> None:
    config = distiller([method])
    expanded = expand_distiller(config)
    assert 'losses' not in expanded
    assert first_losses(expanded, batch) == first_losses(config, batch)


def test_lipschitz_loss_without_adapters_is_that_of_the_raw_taps(batch: tuple) -> None:
    """In a distillation whose adapters belong to another loss."""
    raw = first_losses(distiller([dict(type='lipschitz', adapt=False)], adapters=False), batch)
    mixed = first_losses(distiller([dict(type='lipschitz', adapt=False), 'fitnet']), batch)
    adapted = first_losses(distiller(['lipschitz', 'fitnet']), batch)
    assert mixed['distill.loss_lipschitz'] == raw['distill.loss_lipschitz'] != adapted['distill.loss_lipschitz']


def test_preset_of_two_methods_equals_the_written_mappings(batch: tuple) -> None:
    written = ofd_distiller()
    written['distill_losses']['loss_lipschitz'] = dict(type='LipschitzLoss', distance='relative', loss_weight=0.25)
    named = distiller([dict(type='lipschitz', distance='relative', loss_weight=0.25), 'ofd'])
    assert first_losses(named, batch) == first_losses(written, batch)


@pytest.mark.parametrize(
    ('method', 'loss', 'arguments'),
    [
        ('kd', dict(type='KLDivergence', tau=4, loss_weight=0.9), ('preds_S', 'preds_T')),
        ('dist', dict(type='DISTLoss', loss_weight=2.0), ('logits_S', 'logits_T')),
    ],
)
def test_logit_methods_equal_mmrazors_config(method: str, loss: dict, arguments: tuple, batch: tuple) -> None:
    recorders = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
    stock = dict(
        type='ConfigurableDistiller',
        student_recorders=recorders,
        teacher_recorders=recorders,
        distill_losses={f'loss_{method}': loss},
        loss_forward_mappings={
            f'loss_{method}': {
                name: dict(recorder='fc', from_student=from_student)
                for name, from_student in zip(arguments, (True, False))
            }
        },
    )
    assert first_losses(distiller([method]), batch) == first_losses(stock, batch)


@pytest.mark.parametrize(
    ('method', 'loss'),
    [
        ('cwd', dict(type='ChannelWiseDivergence', tau=1, loss_weight=5)),
        ('at', dict(type='ATLoss', loss_weight=1000.0)),
        ('fitnet', dict(type='L2Loss', loss_weight=10)),
        ('pkd', dict(type='PKDLoss', loss_weight=6)),
    ],
)
def test_map_methods_equal_the_sum_of_mmrazors_losses(method: str, loss: dict, batch: tuple) -> None:
    # Equal channel counts: MMRazor's configs have no adapters.
    teacher = classifier(18)
    arguments = ('s_feature', 't_feature') if method in ('at', 'fitnet') else ('preds_S', 'preds_T')
    # Presets record before the activation.
    recorders = {f'stage{i}': dict(type='PreActivation', source=tap) for i, tap in enumerate(TAPS)}
    stock = dict(
        type='ConfigurableDistiller',
        student_recorders=recorders,
        teacher_recorders=recorders,
        distill_losses={f'loss_{stage}': loss for stage in recorders},
        loss_forward_mappings={
            f'loss_{stage}': {
                name: dict(recorder=stage, from_student=from_student)
                for name, from_student in zip(arguments, (True, False))
            }
            for stage in recorders
        },
    )
    expected = sum(first_losses(stock, batch, teacher=teacher).values())
    actual = first_losses(distiller([method]), batch, teacher=teacher)[f'distill.loss_{method}']
    assert actual == pytest.approx(expected, rel=1e-5)


def test_loss_is_named_after_type_or_name() -> None:
    expanded = expand_distiller(
        distiller(['lipschitz', dict(type='pkd', name='late', taps=TAPS[3:]), dict(type='pkd', name='loss_early')])
    )
    assert list(expanded['distill_losses']) == ['loss_lipschitz', 'loss_late', 'loss_early']


def test_entry_with_its_own_taps_leaves_the_common_taps_to_the_others() -> None:
    expanded = expand_distiller(
        distiller(['lipschitz', dict(type='pkd', taps=['neck']), dict(type='cwd', taps=[TAPS[1]])], adapters=[None] * 4)
    )
    mappings = expanded['loss_forward_mappings']
    assert expanded['taps'] == [*TAPS, 'neck']
    assert mappings['loss_lipschitz']['student']['recorder'] == ['tap0', 'tap1', 'tap2', 'tap3']
    assert mappings['loss_pkd']['teacher']['recorder'] == ['tap4']
    assert mappings['loss_cwd']['teacher']['recorder'] == ['tap1']
    assert expanded['adapters'] == [None] * 4 + ['auto']


def test_a_map_method_reads_the_class_scores() -> None:
    expanded = expand_distiller(distiller(['lipschitz', dict(type='cwd', taps='logits')]))
    assert expanded['taps'] == TAPS
    assert expanded['student_recorders'] == expanded['teacher_recorders'] == dict(logits=dict(type='Logits', source=''))
    assert expanded['loss_forward_mappings']['loss_cwd']['student']['recorder'] == ['logits']
    with pytest.raises(ConfigValueError, match='give two lists of'):
        expand_distiller(distiller([dict(type='cwd', student_taps='logits')]))


def test_cwd_resizes_maps_of_the_student() -> None:
    preset = PRESETS['cwd'].expand()
    loss = MODELS.build({'_scope_': 'mmrazor', **preset.losses['']})
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 8, 10)
    resized = nn.functional.interpolate(student, (8, 10), mode='bilinear', align_corners=False)
    # Divergence of the distributions over the positions of each channel, averaged over channels and images (equations 4 and 5).
    target, source = teacher.flatten(2).softmax(-1), resized.flatten(2).log_softmax(-1)
    expected = 5 * (target * (target.log() - source)).sum() / (3 * 2)
    torch.testing.assert_close(loss([student], [teacher]), expected)
    fixed = MODELS.build({'_scope_': 'mmrazor', **PRESETS['cwd'].expand(resize=False).losses['']})
    with pytest.raises(AssertionError):
        fixed([student], [teacher])


def test_entry_can_tap_student_and_teacher_at_different_layers() -> None:
    expanded = expand_distiller(distiller([dict(type='pkd', student_taps=['a'], teacher_taps=['b'])]))
    assert expanded['student_taps'] == [*TAPS, 'a']
    assert expanded['teacher_taps'] == [*TAPS, 'b']


def test_dict_form_equals_list_form_and_none_removes_an_entry() -> None:
    as_list = expand_distiller(distiller(['lipschitz', dict(type='pkd', name='deep', loss_weight=2.0)]))
    as_dict = dict(lipschitz={}, deep=dict(type='pkd', loss_weight=2.0), ofd=None)
    assert expand_distiller(distiller(as_dict)) == as_list


def test_common_taps_that_no_loss_reads_are_not_attached(batch: tuple) -> None:
    losses = first_losses(distiller(['kd'], adapters=[None] * 4) | dict(taps=['only.in.other.models'] * 4), batch)
    assert losses.keys() == {'distill.loss_kd'}


def test_expansion_changes_neither_its_input_nor_an_expanded_config() -> None:
    config = distiller(['lipschitz', dict(type='pkd', taps=['neck'])])
    before = copy.deepcopy(config)
    expanded = expand_distiller(config)
    assert config == before
    assert expand_distiller(expanded) == expanded


def test_losses_and_written_mappings_are_combined(batch: tuple) -> None:
    recorders = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
    config = distiller(
        ['lipschitz', dict(type='pkd', taps=[TAPS[3]])],
        student_recorders=recorders,
        teacher_recorders=recorders,
        connectors=dict(norms=dict(type='SpectralNormConnector')),
        distill_losses=dict(loss_norms=dict(type='LipschitzLoss'), loss_own=dict(type='KLDivergence')),
        loss_forward_mappings=dict(
            loss_own=dict(
                preds_S=dict(from_student=True, recorder='fc'), preds_T=dict(from_student=False, recorder='fc')
            ),
            loss_norms=dict(
                student=dict(from_student=True, recorder='taps', connector='norms'),
                teacher=dict(from_student=False, recorder='taps', connector='norms'),
            ),
        ),
    )
    names = {f'distill.loss_{name}' for name in ('own', 'norms', 'lipschitz', 'pkd')}
    assert first_losses(config, batch).keys() == names


def test_tap_with_a_tuple_stands_for_all_its_levels(batch: tuple) -> None:
    model = build_distillation(distiller(['lipschitz', dict(type='pkd', taps=['backbone'])]), **pyramids())
    model.init_weights()
    losses = train_step(model, batch)
    assert losses['distill.loss_pkd'].isfinite()
    levels = [f'tap4_level{level}' for level in range(4)]
    assert list(model.distiller.adapters) == ['tap0', 'tap1', 'tap2', 'tap3', *levels]


def pyramids() -> dict[str, dict]:
    """Return architecture and teacher whose backbones yield four maps."""
    networks = [dict(classifier(depth)) for depth in (18, 50)]
    for config in networks:
        config['backbone'] = dict(config['backbone'], out_indices=(0, 1, 2, 3))
    return dict(architecture=networks[0], teacher=networks[1])


@pytest.mark.parametrize('as_list', [False, True])
def test_maps_that_mappings_select_have_their_own_adapters(batch: tuple, as_list: bool) -> None:
    def mapping(index: int) -> dict:
        recorder = ['tap0'] if as_list else 'tap0'
        return {
            argument: dict(from_student=side, recorder=recorder, data_idx=index)
            for argument, side in dict(preds_S=True, preds_T=False).items()
        }

    loss = dict(type='PKDLoss', loss_weight=1.0)
    names = dict(preds_S='student', preds_T='teacher')
    mappings = {f'loss_{index}': mapping(index) for index in (1, 2)}
    losses = dict.fromkeys(mappings, loss)
    if as_list:
        mappings = {name: {names[key]: value for key, value in each.items()} for name, each in mappings.items()}
        losses = {name: dict(type='TapwiseLoss', loss=loss) for name in mappings}
    written = dict(type='LipschitzDistiller', taps=['backbone'], distill_losses=losses, loss_forward_mappings=mappings)
    model = build_distillation(written, **pyramids())
    assert list(model.distiller.adapters) == ['tap0_data1', 'tap0_data2']
    model.init_weights()
    losses = train_step(model, batch)
    assert all(parameter.grad is not None for parameter in model.distiller.adapters.parameters())
    # Two taps, each of which selects a map, have adapters of the same weights.
    taps = [dict(source='backbone', data_idx=index) for index in (1, 2)]
    named = [dict(type='pkd', name=str(index), taps=[tap], loss_weight=1.0) for index, tap in zip((1, 2), taps)]
    reference = build_distillation(dict(type='LipschitzDistiller', losses=named), **pyramids())
    reference.init_weights()
    adapters = zip(reference.distiller.adapters.values(), model.distiller.adapters.values(), strict=True)
    model.zero_grad()
    for theirs, ours in adapters:
        theirs.load_state_dict(ours.state_dict())
    reference.student.load_state_dict(model.student.state_dict())
    reference.teacher.load_state_dict(model.teacher.state_dict())
    again, expected = train_step(model, batch), train_step(reference, batch)
    for index in (1, 2):
        torch.testing.assert_close(again[f'distill.loss_{index}'], expected[f'distill.loss_{index}'])


def test_ofd_on_several_maps_of_one_layer_is_refused() -> None:
    with pytest.raises(ConfigValueError, match=r"'backbone' yields 4 maps, but a BN gives the OFD margins of one"):
        build_distillation(dict(type='LipschitzDistiller', taps=['backbone'], losses=['ofd']), **pyramids())


def test_relations_within_a_batch_of_one_image_are_zero(batch: tuple) -> None:
    model = build_distillation(distiller(['rkd']))
    model.init_weights()
    # The BNs of the last stage need several values per channel.
    model.eval()
    images, labels = batch
    losses = model(images[:1], labels[:1], mode='loss')
    values = [value for name, value in losses.items() if 'rkd' in name]
    assert [value.item() for value in values] == [0.0, 0.0]
    sum(values).backward()
    assert next(model.student.backbone.parameters()).grad.isfinite().all()
    losses = model(images[:2], labels[:2], mode='loss')
    assert losses['distill.loss_rkd_angle'] > 0


def test_correlation_of_one_value_per_channel_is_zero() -> None:
    loss = MODELS.build(expand_distiller(dict(taps=['a'], losses=['pkd']))['distill_losses']['loss_pkd'])
    single, several = torch.randn(1, 4, 1, 1, requires_grad=True), torch.randn(1, 4, 2, 2, requires_grad=True)
    value = loss([single, several], [torch.randn(1, 4, 1, 1), torch.randn(1, 4, 2, 2)])
    value.backward()
    assert value > 0
    assert single.grad.abs().sum() == 0
    assert several.grad.abs().sum() > 0


@pytest.mark.parametrize('losses', [['pkd'], [dict(type='cwd', normalize=True)], ['fitnet']])
def test_a_level_of_one_position_is_accepted_for_one_image(losses: list) -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.levels = nn.ModuleList([nn.Conv2d(3, 4, 8, 8), nn.Conv2d(3, 4, 32, 32)])

        def forward(self, image: torch.Tensor) -> tuple:
            return tuple(level(image) for level in self.levels)

    distiller = MODELS.build(dict(type='LipschitzDistiller', taps=['neck'], losses=losses))
    networks = [nn.Sequential(OrderedDict(neck=Pyramid())) for _ in range(2)]
    distiller.prepare_from_student(networks[0])
    distiller.prepare_from_teacher(networks[1])
    image = torch.randn(1, 3, 32, 32)
    with distiller.student_recorders:
        networks[0](image)
    with distiller.teacher_recorders, torch.no_grad():
        networks[1](image)
    (loss,) = distiller.compute_distill_losses().values()
    loss.backward()
    assert loss > 0
    assert networks[0].neck.levels[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(('method', 'names'), [('kd', ('preds_S', 'preds_T')), ('dist', ('logits_S', 'logits_T'))])
def test_scores_of_positions_are_averaged_as_those_of_images(method: str, names: tuple[str, str]) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64) for _ in names]
    expanded = expand_distiller(dict(losses=[method]))
    loss = MODELS.build(expanded['distill_losses'][f'loss_{method}'])
    connector = MODELS.build(expanded['connectors'][f'loss_{method}_rows'])
    value = loss(**{name: connector(scores) for name, scores in zip(names, maps)})
    # Each position is an image.
    rows = [torch.stack([scores[b, :, i, j] for b in (0, 1) for i in range(3) for j in range(4)]) for scores in maps]
    torch.testing.assert_close(value, loss(*rows))
    assert torch.equal(connector(rows[0]), rows[0])
    if method == 'kd':
        student, teacher = (row.div(4).softmax(1) for row in rows)
        expected = 0.9 * 16 * (teacher * (teacher / student).log()).sum(1).mean()
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ('scores', 'labels'),
    [((4, 3), torch.zeros(4, 3)), ((4, 3, 2, 2), torch.zeros(4, 2, 2, dtype=torch.long)), ((4, 3), torch.zeros(4))],
)
def test_dkd_names_what_it_cannot_read(scores: tuple, labels: torch.Tensor) -> None:
    with pytest.raises(ConfigValueError, match=r'one class per image, but .*remove transforms that mix images'):
        DecoupledLoss()(torch.zeros(scores), torch.zeros(scores), labels)


@pytest.mark.parametrize(
    ('losses', 'options', 'message'),
    [
        (['lipshitz'], {}, "method 'lipshitz' is unknown.*did you mean 'lipschitz'"),
        ([dict(type='kd', temperature=4)], {}, "option of 'kd' 'temperature' is unknown.*'tau'"),
        ([dict(loss_weight=1)], {}, 'method None is unknown'),
        (['kd', dict(type='kd', tau=1)], {}, "two entries named 'loss_kd'.*name="),
        ('lipschitz', {}, "losses='lipschitz' is a str"),
        (['lipschitz'], dict(taps=None), "'loss_lipschitz' has no taps"),
        ([dict(type='pkd', student_taps=['a'])], dict(taps=None), "taps of the loss 'loss_pkd'"),
        ([dict(type='pkd', taps='neck')], {}, "losses: pkd: taps='neck' is a str"),
        ([dict(type='kd', taps=['a', 'b'])], {}, 'name one layer with class scores'),
        (['kd'], dict(distill_losses=dict(loss_kd=dict(type='KLDivergence'))), "both define 'loss_kd'"),
    ],
)
def test_wrong_losses_are_rejected_in_one_sentence(losses: Any, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        expand_distiller({**distiller(losses), **options})
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('losses', 'message'),
    [
        ([dict(type='pkd', taps=['backbone.layer5'])], "student's tap 'backbone.layer5' is unknown"),
        ([dict(type='ofd', taps=['backbone.layer4.1.conv2'])], 'does not end in a BN'),
        ([dict(type='kd', taps=['backbone.layer1'])], "loss 'loss_kd' cannot be computed"),
    ],
)
def test_taps_that_do_not_fit_a_method_are_rejected_when_the_models_are_known(losses: list, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_distillation(distiller(losses))


def test_model_without_class_scores_rejects_losses_on_them() -> None:
    headless = dict(classifier(), head=None)
    with pytest.raises(ConfigError, match='has no head with a layer of `num_classes` outputs'):
        build_distillation(distiller(['kd']), architecture=headless)


@pytest.mark.parametrize('method', MAP_METHODS)
def test_map_methods_accept_channels_last_maps(method: str, batch: tuple) -> None:
    model = build_distillation(distiller([method]))
    model.init_weights()
    to_channels_last(model)
    images = batch[0].to(memory_format=torch.channels_last)
    losses = train_step(model, (images, batch[1]))
    assert all(value.isfinite().all() for value in losses.values())


def test_user_can_register_a_method() -> None:
    from lckd_mm.models.presets import Expansion, register_preset
    from lckd_mm.models.presets.registry import both

    @register_preset('test_only')
    def l1(loss_weight: float = 1.0) -> Expansion:
        return Expansion(
            losses={'': dict(type='TapwiseLoss', loss=dict(type='L1Loss'), loss_weight=loss_weight)},
            records={'': both('taps', 'student', 'teacher')},
        )

    try:
        with pytest.raises(ConfigError, match="'test_only' is registered already"):
            register_preset('test_only')
        assert MODELS.get('L1Loss') is not None
        model = build_distillation(distiller([dict(type='test_only', loss_weight=2.0)]))
        assert model.distiller.distill_losses['loss_test_only'].loss_weight == 2.0
    finally:
        del PRESETS['test_only']
