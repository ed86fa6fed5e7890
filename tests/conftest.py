import pytest
import torch

import lckd_mm  # noqa: F401  (patches the installed libraries before a test imports them)


@pytest.fixture(scope='session')
def photographs() -> torch.Tensor:
    """Four crops of two photographs, normalized, (4, 3, 224, 224)."""
    import numpy as np
    from sklearn.datasets import load_sample_images

    images = np.stack(
        [i[y : y + 224, x : x + 224] for i in load_sample_images().images for y, x in ((0, 0), (150, 300))]
    )
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    return ((torch.from_numpy(images).float() - mean) / std).permute(0, 3, 1, 2).contiguous()
