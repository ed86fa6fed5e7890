import pytest

from tests.helpers.small_classifiers import classification_batch


@pytest.fixture
def batch() -> tuple:
    """Four images of 64 x 64 pixels and their labels."""
    return classification_batch()
