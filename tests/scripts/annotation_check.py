"""Check the annotations of data sets in every process of a launcher, and write the number of reads and the error of each.

Usage: annotation_check.py RESULT_DIR
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from mmengine.dataset import BaseDataset
from mmengine.dist import init_dist
from torch.utils.data import DataLoader

from lckd_mm.engine.hooks import AnnotationCheckHook
from lckd_mm.errors import ConfigValueError


class Boxes(BaseDataset):
    """Counts how often its information is read, and has a box without area in its last image."""

    reads = 0

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(metainfo=dict(classes=('a',)))

    def load_data_list(self) -> list[dict]:
        right = 9 if self.kind == 'correct' else 0
        boxes = [[0, 0, 5, 5], [0, 0, right, 5]]
        return [dict(img_path=f'{i}.jpg', instances=[dict(bbox=box, bbox_label=0)]) for i, box in enumerate(boxes)]

    def get_data_info(self, idx: int) -> dict:
        type(self).reads += 1
        if self.kind == 'unreadable':
            raise OSError('disk failure')
        return super().get_data_info(idx)


def main() -> None:
    init_dist('pytorch', backend='gloo')
    results = {}
    for kind in ('correct', 'wrong', 'unreadable'):
        dataset = Boxes(kind)
        Boxes.reads = 0
        error = ''
        try:
            AnnotationCheckHook().before_train(SimpleNamespace(train_dataloader=DataLoader(dataset), iter=0))
        except ConfigValueError as raised:
            error = str(raised)
        results[kind] = [Boxes.reads, error]
    Path(sys.argv[1], os.environ['RANK']).write_text(json.dumps(results))


if __name__ == '__main__':
    main()
