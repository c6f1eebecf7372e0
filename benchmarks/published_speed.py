"""Seconds per candidate of the published configuration.

    python benchmarks/published_speed.py [--steps 4] [--batch-size 8] [--threads N] [--device cpu]

A few of the 250 ancestral steps are timed and scaled: all steps do the same work. As
published, the image is encoded anew in every step; ``encoded once`` is the same network
without that waste. Weights are random; speed does not depend on them. On a machine that
others use, read the processor seconds at ``--threads 1``: waiting does not enter them.
"""

import argparse
import time

STAGES = {"base": (1, 563), "super_resolution": (2, 4500)}  # channels, samples
WAYS = ("as published", "encoded once")


def seconds_per_candidate(stage, way, *, n_steps=4, batch_size=8, device="cpu"):
    """Wall-clock and processor seconds of one candidate: the median step, times 250."""
    import numpy as np
    import torch

    from photospec.networks.samplers import draw_noise
    from photospec.published.denoiser import PublishedDenoiser
    from photospec.published.schedule import PublishedSampler

    n_channels, length = STAGES[stage]
    generator = torch.Generator().manual_seed(0)
    denoiser = PublishedDenoiser(n_channels=n_channels).eval().to(device)
    image = draw_noise((batch_size, 5, 64, 64), generator).to(device)
    low = draw_noise((batch_size, 1, 563), generator).to(device) if n_channels == 2 else None
    x = draw_noise((batch_size, 1, length), generator).to(device)
    sampler = denoiser.sampler(denoiser.tokens(image), low)
    if way == "as published":
        sampler = PublishedSampler(lambda x, t: denoiser(x, t, image, low), denoiser.diffusion)

    def wait():
        if device != "cpu":
            torch.cuda.synchronize()

    times = []
    with torch.inference_mode():
        for k in range(sampler.n_steps - 1, sampler.n_steps - 2 - n_steps, -1):
            wait()
            start = time.perf_counter(), time.process_time()
            x = sampler.step(x, k, generator)
            wait()
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    # the first step also warms the caches up
    wall, processor = np.median(times[1:], axis=0) * sampler.n_steps / batch_size
    return float(wall), float(processor)


class PublishedSpeed:
    """One candidate of each stage with 250 ancestral steps."""

    params = (list(STAGES), list(WAYS))
    param_names = ("stage", "image")
    timeout = 600
    unit = "s"

    def track_seconds_per_candidate(self, stage, way):
        return seconds_per_candidate(stage, way)[0]


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4, help="steps to time")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves them as they are")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(
        f"{options.steps} of 250 steps timed and scaled, batch {options.batch_size}, "
        f"{options.device}, {torch.get_num_threads()} threads; "
        "seconds per candidate, wall-clock and processor"
    )
    for stage in STAGES:
        for way in WAYS:
            wall, processor = seconds_per_candidate(
                stage,
                way,
                n_steps=options.steps,
                batch_size=options.batch_size,
                device=options.device,
            )
            print(f"{stage:17s} {way:13s} {wall:8.2f} {processor:8.2f}")


if __name__ == "__main__":
    main()
