from pathlib import Path

import pytest

from lckd_mm.analysis.configs import load_config
from lckd_mm.errors import ConfigFileNotFoundError, ConfigKeyError, ConfigValueError


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / 'mine.py'
    path.write_text(
        "distillation = dict(type='LipschitzDistill')\n"
        "distillation_hooks = dict(class_count=dict(type='mmrazor.ClassCountHook'))\n"
        "model = dict(type='LipschitzDistill', teacher=dict(depth=1), stages=[dict(width=1)])\n"
    )
    return str(path)


def test_helper_keys_are_removed(config: str) -> None:
    assert set(load_config(config).keys()) == {'model'}


@pytest.mark.parametrize(
    ('key', 'place'),
    [
        ('distillation.distiller.taps', 'model.distiller.taps'),
        ('distillation', 'model'),
        ('distillation_hooks.class_count', 'default_hooks.class_count'),
    ],
)
def test_option_that_addresses_a_helper_key_is_rejected_with_its_place(config: str, key: str, place: str) -> None:
    with pytest.raises(ConfigKeyError, match=f"{key}: .*use '{place}'"):
        load_config(config, {key: 1})


def test_options_override_values_and_entries_of_lists(config: str) -> None:
    model = load_config(config, {'model.teacher.depth': 2, 'model.stages.0.width': 3}).model
    assert (model.teacher.depth, model.stages[0].width) == (2, 3)


@pytest.mark.parametrize('key', ['model.stages.4.width', 'model.type.name.other'])
def test_option_that_does_not_fit_is_reported(config: str, key: str) -> None:
    with pytest.raises(ConfigValueError, match=f'--cfg-options {key} does not fit'):
        load_config(config, {key: 1})


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('none.py', "config 'none.py' does not exist"),
        ('lckd_mm::demo/none.py', "config of lckd_mm 'demo/none.py' is unknown; did you mean 'demo/"),
    ],
)
def test_config_that_does_not_exist_is_named(name: str, message: str) -> None:
    with pytest.raises(ConfigFileNotFoundError, match=message):
        load_config(name)


def test_package_that_is_not_installed_is_named_and_not_installed() -> None:
    with pytest.raises(ConfigFileNotFoundError, match="package 'lckd_no_such_package', which is not installed"):
        load_config('lckd_no_such_package::a/b.py')


def test_base_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text("_base_ = 'missing_base.py'\n")
    with pytest.raises(ConfigFileNotFoundError, match='missing_base'):
        load_config(str(tmp_path / 'mine.py'))


@pytest.mark.parametrize(('text', 'reason'), [('a = (\n', 'SyntaxError'), ('a = b\n', 'NameError')])
def test_config_that_is_not_valid_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / 'mine.py').write_text(text)
    with pytest.raises(ConfigValueError, match=rf'cannot be read \({reason}') as caught:
        load_config(str(tmp_path / 'mine.py'))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('key', 'known'),
    [
        ('trian_cfg.max_epochs', 'train_cfg'),
        ('train_dataloder.batch_size', 'train_dataloader'),
        ('optim_wraper', 'optim_wrapper'),
        ('defualt_hooks.logger.interval', 'default_hooks'),
        ('tset_cfg.fp16', 'test_cfg'),
        ('loadfrom', 'load_from'),
        ('param_schedulers', 'param_scheduler'),
    ],
)
def test_a_misspelled_key_at_the_top_level_is_an_error(config: str, key: str, known: str) -> None:
    with pytest.raises(ConfigKeyError, match=f'{key.partition(".")[0]!r} at the top level .* did you mean {known!r}'):
        load_config(config, {key: 1})


@pytest.mark.parametrize(
    'key', ['conv_cfg', 'test_pipeline', 'val_evaluator_abs', 'optim_wrapper_cfg', 'my_model', 'max_epochs']
)
def test_variables_at_the_top_level_are_free(config: str, key: str) -> None:
    assert load_config(config, {key: dict(a=1)})[key] == dict(a=1)


def test_a_list_of_models_beside_the_model_is_a_variable(config: str) -> None:
    assert load_config(config, {'models': [1]}).models == [1]


@pytest.mark.parametrize('reverse', [False, True])
def test_options_of_a_part_and_of_the_whole_both_apply(config: str, reverse: bool) -> None:
    options = [('model.teacher.depth', 7), ('model.teacher', {'width': 3})]
    cfg = load_config(config, dict(options[::-1] if reverse else options))
    assert cfg.model.teacher == dict(depth=7, width=3)
