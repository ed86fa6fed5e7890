import pytest
import torch
from mmengine.optim import AmpOptimWrapper

import lckd_mm  # noqa: F401  (applies the patches)


@pytest.mark.skipif(torch.cuda.is_available(), reason='the patch is for machines without a GPU')
@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=0.1)])
def test_mixed_precision_trains_on_the_cpu_in_bfloat16(clip_grad: dict | None) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 2)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=1.0), clip_grad=clip_grad)
    x, before = torch.randn(8, 4), layer.weight.detach().clone()
    with wrapper.optim_context(layer):
        out = layer(x)
        assert out.dtype == torch.bfloat16
    loss = out.float().square().mean()
    (expected,) = torch.autograd.grad(layer(x).square().mean(), layer.weight)
    wrapper.update_params(loss)
    if clip_grad is None:
        # The gradient of unscaled losses, to the precision of bfloat16.
        torch.testing.assert_close(before - layer.weight, expected, rtol=0.05, atol=0.02)
    else:
        assert (before - layer.weight).norm() < 0.1001
    wrapper.load_state_dict(wrapper.state_dict())
