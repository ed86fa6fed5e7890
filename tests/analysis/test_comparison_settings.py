import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from lckd_mm.analysis.comparison_settings import (
    check_same_settings,
    config_fingerprint,
    device_name,
    file_digest,
    teacher_fingerprint,
    training_settings,
)
from lckd_mm.analysis.configs import load_config
from lckd_mm.dependencies import find_distribution
from lckd_mm.errors import ConfigValueError

CONFIG = 'lckd_mm::camvid/lipschitz_deeplabv3plus_r18w32_r18w8_camvid.py'


@pytest.fixture(scope='module')
def cfg() -> Config:
    return load_config(CONFIG)


def test_fingerprint_ignores_paths_and_the_order_of_keys(cfg: Config) -> None:
    moved = load_config(
        CONFIG, {'train_dataloader.dataset.data_root': '/x', 'model.teacher_ckpt': '/y.pth', 'work_dir': '/z'}
    )
    assert config_fingerprint(moved) == config_fingerprint(cfg)
    assert config_fingerprint(dict(reversed(list(cfg.items())))) == config_fingerprint(cfg)


@pytest.mark.parametrize('key', ['train_dataloader.batch_size', 'model.distiller.losses.lipschitz.loss_weight'])
def test_fingerprint_depends_on_every_value(key: str, cfg: Config) -> None:
    changed = copy.deepcopy(cfg)
    changed.merge_from_dict({key: 3})
    assert config_fingerprint(changed) != config_fingerprint(cfg)


def test_fingerprint_depends_on_the_content_of_the_teachers_config(tmp_path: Path) -> None:
    fingerprints = []
    for index, depth in enumerate((18, 50, 18)):
        path = tmp_path / f'teacher{index}.py'
        path.write_text(f'model = dict(depth={depth})')
        fingerprints.append(config_fingerprint(dict(model=dict(teacher=dict(cfg_path=str(path))))))
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


def test_fingerprint_of_classes_and_functions_is_the_same_in_every_process() -> None:
    assert config_fingerprint({'type': dict, 'f': len}) == config_fingerprint({'f': len, 'type': dict})
    assert config_fingerprint({'x': object()}) == config_fingerprint({'x': object()})
    assert config_fingerprint({'type': dict}) != config_fingerprint({'type': list})


def test_weights_that_a_training_starts_from_count_by_their_content(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ('a.pth', 'b.pth', 'c.pth')]
    for path, content in zip(paths, (b'weights', b'weights', b'others')):
        path.write_bytes(content)
    first, second, third = (config_fingerprint(dict(load_from=str(path))) for path in paths)
    assert first == second != third
    assert config_fingerprint(dict(load_from=None)) == config_fingerprint({}) != first
    remote = [config_fingerprint(dict(load_from=f'https://example.com/{name}.pth')) for name in 'ab']
    assert remote[0] != remote[1]


def test_teacher_counts_by_its_content(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ('a.pth', 'b.pth')]
    for path in paths:
        path.write_bytes(b'weights')
    digests = {teacher_fingerprint(dict(model=dict(teacher_ckpt=str(path)))) for path in paths}
    # printf weights | sha256sum
    assert digests == {'9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c'}
    paths[0].write_bytes(b'trained again')
    assert teacher_fingerprint(dict(model=dict(teacher_ckpt=str(paths[0])))) not in digests
    assert teacher_fingerprint(dict(model=dict(teacher_ckpt='https://x/a.pth'))) == 'https://x/a.pth'
    assert teacher_fingerprint(dict(model=dict(type='Plain'))) is None
    assert file_digest(tmp_path / 'none.pth') is None


def test_settings_name_precision_layout_threads_and_versions() -> None:
    settings = training_settings(CONFIG, {}, ['--amp', '--channels-last', '--auto-scale-lr'], {'OMP_NUM_THREADS': '3'})
    assert settings['precision'] == 'mixed'
    assert settings['memory layout'] == 'channels last'
    assert settings['threads'] == 3
    assert settings['arguments'] == ['--auto-scale-lr']
    # `mmengine` or `onedl-mmengine`.
    engine = find_distribution('mmengine')
    assert {'torch', 'lckd_mm', 'stack', engine.name, 'numpy'} <= set(settings['versions'])
    student = 'lckd_mm::camvid/deeplabv3plus_r18w8_camvid.py'
    plain = training_settings(student, {'optim_wrapper.type': 'AmpOptimWrapper'}, [], {})
    assert (plain['precision'], plain['memory layout']) == ('mixed', 'contiguous')
    assert training_settings(student, {}, [], {})['precision'] == 'float32'
    assert plain['device'] == device_name()


BASE = {
    'config': 'c',
    'teacher': None,
    'precision': 'float32',
    'device': 'CPU',
    'threads': 1,
    'host': 'a',
    'commit': 'x',
    'is_dirty': False,
    'versions': {'torch': '2.13.0'},
}


def results_with(**changes: object) -> list[dict]:
    results = [dict(variant=name, seed=seed, settings=copy.deepcopy(BASE)) for seed in (0, 1) for name in ('a', 'b')]
    results[2]['settings'].update(changes)
    return results


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'precision': 'mixed'}, "precision is 'float32' for 'a', seed 0 and 'mixed' for 'a', seed 1"),
        ({'versions': {'torch': '2.12.0'}}, r"versions\.torch is '2\.13\.0' .* '2\.12\.0'"),
        ({'threads': 2}, 'threads is 1'),
        ({'device': 'GPU'}, 'device is'),
        # Seed 1 of both variants must be from one machine.
        ({'host': 'b'}, "host is 'b' for 'a', seed 1 and 'a' for 'b', seed 1; continue with .*, or add --repeat"),
    ],
)
def test_different_settings_are_refused_in_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(ConfigValueError, match=message) as caught:
        check_same_settings(results_with(**changes))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('changes', [{'config': 'd'}, {'teacher': 't'}, {'commit': 'y'}, {'is_dirty': True}])
def test_arms_may_differ_in_their_config(changes: dict) -> None:
    check_same_settings(results_with(**changes))
    check_same_settings([])


def test_seeds_may_be_from_several_machines_of_one_kind() -> None:
    results = results_with(host='b')
    results[3]['settings']['host'] = 'b'
    check_same_settings(results)
