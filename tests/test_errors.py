"""The classes of configuration errors that stand for errors of other packages."""

import json

import pytest

from lckd_mm.errors import ConfigError, ConfigValueError, config_error_class


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


def test_an_error_whose_constructor_reads_its_argument_becomes_a_sentence() -> None:
    class ResponseError(OSError):
        def __init__(self, response: object) -> None:
            super().__init__(response.status_code)

    assert str(config_error_class(ResponseError)('correct it')) == 'correct it'
    assert issubclass(config_error_class(ResponseError), OSError)
    # One class for all errors that become errors of a base class.
    assert config_error_class(json.JSONDecodeError) is ConfigValueError
