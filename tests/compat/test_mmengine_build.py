"""Errors of mmengine's registries: configuration errors for what a config causes, and no others."""

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
from mmengine.registry import Registry

from lckd_mm.compat import PATCHES
from lckd_mm.errors import ConfigError, ConfigKeyError, ConfigTypeError


class Layer:
    def __init__(self, width: int, depth: int = 1) -> None:
        self.size = width * depth
        if depth > 9:
            self.mistake()
        assert depth > 0
        if width < 0:
            raise ValueError('width is negative')
        self.half = width / 2

    def mistake(self) -> None:
        raise AttributeError('a mistake in the code')


class Wide(Layer):
    def __init__(self, factor: int = 2, **options: int) -> None:
        super().__init__(**options)


@pytest.fixture
def registry() -> Registry:
    registry = Registry('part', scope='mmengine')
    registry.register_module(module=Layer)
    registry.register_module(module=Wide)
    return registry


@pytest.mark.parametrize(
    ('config', 'kind', 'message'),
    [
        (dict(type='Layr', width=1), ConfigKeyError, "did you mean 'Layer'"),
        (dict(width=1), ConfigKeyError, 'has no `type`'),
        (
            dict(type='Layer', width=1, dept=2),
            ConfigTypeError,
            "option of Layer 'dept' is unknown; valid: 'width', 'depth'",
        ),
        (
            dict(type='Wide', width=1, dept=2),
            ConfigTypeError,
            "option of Wide 'dept' is unknown; valid: 'factor', 'width', 'depth'",
        ),
        (dict(type='Layer'), ConfigTypeError, "Layer needs the option 'width'"),
        (dict(type='Wide'), ConfigTypeError, "Wide needs the option 'width'"),
        (dict(type='Layer', width=-1), ValueError, r'Layer\(width=-1\) rejects its options: width is negative'),
        (dict(type='Layer', width=1, depth=0), AssertionError, r'Layer\(width=1, depth=0\) rejects its options'),
        (dict(type='Layer', width='wide'), TypeError, r"Layer\(width='wide'\) rejects its options"),
    ],
)
def test_wrong_config_is_a_configuration_error(
    config: dict, kind: type[Exception], message: str, registry: Registry
) -> None:
    with pytest.raises(kind, match=message) as caught:
        registry.build(config)
    assert isinstance(caught.value, ConfigError)


def test_mistakes_in_the_code_are_raised_unchanged(registry: Registry) -> None:
    with pytest.raises(AttributeError, match='a mistake') as caught:
        registry.build(dict(type='Layer', width=1, depth=10))
    assert not isinstance(caught.value, ConfigError)


def test_without_the_patch_mmengine_raises_other_errors(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, 'build', PATCHES['mmengine_build_errors'].originals[0])
    with pytest.raises(KeyError) as caught:
        registry.build(dict(type='Layr', width=1))
    assert not isinstance(caught.value, ConfigError)
