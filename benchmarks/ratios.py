"""Default against published networks, and the processor's use, as ratios of one run.

    python benchmarks/ratios.py [--threads N] [--device cpu]

Both sides of a ratio are timed here and now, so the numbers hold on a slow or a busy machine
too. ``processor`` counts processor seconds, in which waiting for others does not show.
"""

import argparse
import time

from published_speed import STAGES, seconds_per_candidate

N_CANDIDATES, BATCH = 25, 64
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def _best(function, clock, n_repeats):
    import torch

    function()
    times = []
    for _ in range(n_repeats):
        start = CLOCKS[clock]()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(CLOCKS[clock]() - start)
    return min(times)


class Galaxy:
    """An image on a device, and candidates for it from the bundled weights."""

    def __init__(self, device="cpu", dtype=None):
        import torch

        from photospec import PhotoSpectrograph

        self.spectrograph = PhotoSpectrograph.load(device=device, dtype=dtype)
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(1, 5, 64, 64, generator=generator).to(device)

    def sample(self, n_candidates, **options):
        import torch

        generator = torch.Generator().manual_seed(0)
        return self.spectrograph.cascade.sample(self.image, n_candidates, [generator], **options)


def speed_up(clock="wall", *, device="cpu", dtype=None, n_repeats=3, n_steps=4):
    """Published over default seconds: one galaxy, 25 candidates of both stages, ranked.

    The published side is 250 ancestral steps per stage, scaled from `n_steps` of them, without
    the time of its ranking.
    """
    galaxy = Galaxy(device, dtype)
    galaxy.spectrograph.cascade.n_keep = 2  # ranked after the base stage too, as published
    ours = _best(lambda: galaxy.sample(N_CANDIDATES), clock, n_repeats)
    place = list(CLOCKS).index(clock)
    published = N_CANDIDATES * sum(
        seconds_per_candidate(stage, "as published", n_steps=n_steps, device=device)[place]
        for stage in STAGES
    )
    return published / ours, published, ours


def matrix_rate(dtype, clock="wall", *, device="cpu", n_repeats=9):
    """Operations per second of the fastest of several square matrix products."""
    import torch

    rates = []
    for size in (256, 512, 1024, 2048) if device == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        rates.append(2 * size**3 / _best(lambda a=a, b=b: a @ b, clock, n_repeats))
    return max(rates)


def cascade_speed(clock="wall", *, device="cpu", dtype=None, n_repeats=3):
    """Candidates per second of the default cascade, 64 of one galaxy, and operations of each."""
    from torch.utils.flop_counter import FlopCounterMode

    galaxy = Galaxy(device, dtype)
    with FlopCounterMode(display=False) as counter:
        galaxy.sample(BATCH)
    speed = BATCH / _best(lambda: galaxy.sample(BATCH), clock, n_repeats)
    return speed, counter.get_total_flops() / BATCH


def fraction_of_rate(clock="wall", *, device="cpu", dtype=None):
    """Rate of the cascade over that of matrix products of the type it computes in."""
    import torch

    from photospec.networks.devices import DTYPES, check_dtype

    dtype = check_dtype(dtype, torch.device(device))
    rate = matrix_rate(DTYPES[dtype] or torch.float32, clock, device=device)
    speed, operations = cascade_speed(clock, device=device, dtype=dtype)
    return speed * operations / rate


class Ratios:
    """Speed-up to reach: 100. Part of the matrix-product rate to reach: 0.3."""

    params = (tuple(CLOCKS),)
    param_names = ("clock",)
    timeout = 1200

    def track_published_over_default(self, clock):
        return speed_up(clock)[0]

    def track_part_of_matrix_rate(self, clock):
        return fraction_of_rate(clock)


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=0, help="0 leaves them as they are")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clocks", nargs="+", default=list(CLOCKS), choices=list(CLOCKS))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{options.device}, {torch.get_num_threads()} threads")
    for clock in options.clocks:
        ratio, published, ours = speed_up(clock, device=options.device)
        print(f"{clock:9s} 25 candidates: {published:.1f} s / {ours:.2f} s = {ratio:.0f}")
        for dtype in ("bfloat16", "float32"):
            part = fraction_of_rate(clock, device=options.device, dtype=dtype)
            speed, operations = cascade_speed(clock, device=options.device, dtype=dtype)
            print(
                f"{clock:9s} {dtype}: {speed:.1f} candidates per second of {operations / 1e9:.2f} "
                f"GFLOP each, {100 * part:.0f} % of the matrix-product rate"
            )


if __name__ == "__main__":
    main()
