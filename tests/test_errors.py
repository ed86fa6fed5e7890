"""The classes of configuration errors that stand for errors of other packages."""

import json

import pytest

from lckd_mm.errors import ConfigError, config_error_class


@pytest.mark.parametrize(
    ('kind', 'base'),
    [
        (json.JSONDecodeError, ValueError),
        (UnicodeDecodeError, UnicodeError),
        (AssertionError, AssertionError),
        (FileNotFoundError, FileNotFoundError),
    ],
)
def test_every_error_can_become_a_sentence(kind: type[Exception], base: type[Exception]) -> None:
    error = config_error_class(kind)('correct it')
    assert str(error) == 'correct it'
    assert isinstance(error, ConfigError)
    assert isinstance(error, base)
