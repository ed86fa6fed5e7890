"""Options and isolation of all tests, those in docstrings included."""

import contextlib
import sys
from collections.abc import Iterator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--slow``."""
    parser.addoption('--slow', action='store_true', help='run the long proofs as well')


def pytest_report_header() -> list[str]:
    """Print the versions that the tests use."""
    from lckd_mm.cli.env import describe_environment

    stack, *versions = describe_environment()
    return [stack, ', '.join(versions)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long proofs unless ``--slow`` is given, and the tests of a GPU where there is none."""
    if any('gpu' in item.keywords for item in items):
        import torch

        if not torch.cuda.is_available():
            for item in items:
                if 'gpu' in item.keywords:
                    item.add_marker(pytest.mark.skip(reason='this machine has no GPU'))
    if not config.getoption('--slow'):
        for item in items:
            if 'slow' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='a long proof: give --slow to run it'))


@contextlib.contextmanager
def _restored_default_scope() -> Iterator[None]:
    """Restore mmengine's default scope, which each Runner sets for the whole process."""
    if 'mmengine.registry' not in sys.modules:
        yield
        return
    from mmengine.registry import DefaultScope

    instances = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(instances)


@pytest.fixture(autouse=True)
def _isolate_default_scope() -> Iterator[None]:
    """Restore the default scope after each test."""
    with _restored_default_scope():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> Iterator[None]:
    """Restore the default scope after each fixture that several tests share; those of one test belong to the test."""
    if fixturedef.scope == 'function':
        return (yield)
    with _restored_default_scope():
        return (yield)
