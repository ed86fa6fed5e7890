"""Trainings that are killed at a random moment and resumed are bit-identical to uninterrupted ones.

`tools/dev/check_resume.py` checks more moments and all cases; `test_demo.py` resumes the detector.
"""

import json
from pathlib import Path

import pytest

from tests.helpers.tools import run_tool

pytestmark = pytest.mark.training


def test_killed_classifier_and_segmentor_are_resumed_bit_identically(tmp_path: Path) -> None:
    cases = ('classifier-accumulation', 'segmentor-plain')
    run_tool('tools/dev/check_resume.py', tmp_path, *cases, '--kills', 1)
    records = [json.loads(line) for line in (tmp_path / 'results.jsonl').read_text().splitlines()]
    assert [record['case'] for record in records] == list(cases)
    for record in records:
        assert record['differences'] == []
        assert len(record['kills']) == 1
        # Weights, optimizer, EMA, histories and scalars.
        assert record['compared'] > 1000
