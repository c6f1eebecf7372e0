"""Drawing from published networks in training."""

import torch

from photospec.published.config import PublishedSize
from photospec.published.training import build_published


def test_bounds_keep_an_untrained_network_from_running_off():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = PublishedSize(
            widths=(32, 32), attention_depths=(1,), time_width=32, image_width=4, standardise=False
        )
        stage = build_published("base", size, n_bands=5).eval()
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 5, 64, 64, generator=generator)
    noise = torch.randn(2, 563, generator=generator)
    free = stage.sample(image, noise, sampler="ddim", n_steps=4)
    bound = stage.sample(image, noise, sampler="ddim", n_steps=4, clip=(-3, 3))
    assert free.abs().max() > 10
    assert bound.abs().max() <= 3
    assert bound.std() > 0.1
