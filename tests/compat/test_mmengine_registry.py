"""Types that a registry has and the default scope has not."""

from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
from mmengine.registry import MODELS, DefaultScope, Registry

from lckd_mm.compat import PATCHES


@pytest.fixture
def registries() -> tuple[Registry, Registry]:
    """Two children of one registry, each with a type of its own and one of a common name."""
    root = Registry('part', scope='mmengine')
    first, second = (Registry('part', parent=root, scope=scope) for scope in ('mmdet', 'mmseg'))
    root.register_module(name='Shared', module=lambda: 'root')
    for registry in (first, second):
        registry.register_module(name='Common', module=lambda registry=registry: registry.scope)
    second.register_module(name='Own', module=lambda: 'own')
    return first, second


def test_a_type_that_the_default_scope_lacks_is_taken_from_the_registry_itself(
    registries: tuple[Registry, Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = registries
    with DefaultScope.overwrite_default_scope('mmdet'):
        assert second.build(dict(type='Own')) == 'own'
        monkeypatch.setattr(Registry, 'build', PATCHES['mmengine_registry_build'].originals[0])
        with pytest.raises(KeyError, match='Own is not in the mmdet::part registry'):
            second.build(dict(type='Own'))


def test_the_default_scope_and_its_parents_have_priority(registries: tuple[Registry, Registry]) -> None:
    first, second = registries
    with DefaultScope.overwrite_default_scope('mmdet'):
        assert second.build(dict(type='Common')) == 'mmdet'
        assert second.build(dict(type='Shared')) == 'root'
        assert second.build(dict(type='Common', _scope_='mmseg')) == 'mmseg'
        assert second.build(dict(type='mmseg.Common')) == 'mmseg'
        with pytest.raises(KeyError, match='Own is not in the mmdet::part registry'):
            first.build(dict(type='Own'))
        with pytest.raises(KeyError, match='Nothing is not in the mmdet::part registry'):
            second.build(dict(type='Nothing'))


def test_the_config_is_not_changed(registries: tuple[Registry, Registry]) -> None:
    config: dict[str, Any] = dict(type='Own')
    with DefaultScope.overwrite_default_scope('mmdet'):
        registries[1].build(config)
    assert config == dict(type='Own')


def test_what_is_no_config_is_reported_by_mmengine() -> None:
    with pytest.raises(TypeError, match='cfg should be a dict'):
        MODELS.build('Own')
