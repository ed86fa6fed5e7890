"""A training that is killed at a random moment and resumed is bit-identical to an uninterrupted one.

`tools/dev/check_resume.py` checks more moments and all cases; `test_demo.py` resumes the detector.
"""

import json
from pathlib import Path

import pytest

from tests.helpers.tools import run_tool

pytestmark = [pytest.mark.training, pytest.mark.slow]


def test_killed_classifier_is_resumed_bit_identically(tmp_path: Path) -> None:
    run_tool('tools/dev/check_resume.py', tmp_path, 'classifier-accumulation', '--kills', 1)
    record = json.loads((tmp_path / 'results.jsonl').read_text())
    assert record['differences'] == []
    assert len(record['kills']) == 1
    # Weights, optimizer, EMA, histories and scalars.
    assert record['compared'] > 1000
