"""Candidates per second that a device draws, and their share of its matrix rate.

    python benchmarks/draw_device.py [--device cuda] [--rows 128 512 2048] [--seconds 5]
    OMP_NUM_THREADS=1 python benchmarks/draw_device.py --device cpu --rows 16 \\
        --ways plain int8 compiled frozen

Draws candidates with the bundled weights through both stages, ranked, in batches of so many
spectra, in several ways, turn by turn in one run: as they are, with products of 8-bit integers
(processors only), with compiled networks, and with these and constant weights ("frozen"). Seconds
are of the processor on a processor and of the clock on a GPU. Beside them stands the rate of square
matrix products of the same type. Operations are counted as PyTorch's `FlopCounterMode` counts them:
products alone.
"""

import argparse
import json
import time

import numpy as np
import torch
import torch._inductor.config
from ratios import matrix_rate
from torch.utils.flop_counter import FlopCounterMode

from photospec import PhotoSpectrograph
from photospec.networks import cascade as cascade_module
from photospec.networks.devices import DTYPES, check_dtype

N_CANDIDATES = 8
WAYS = ("plain", "int8", "compiled", "frozen")
_PARTS = {
    "base": lambda cascade: cascade.base.network,
    "super-resolution": lambda cascade: cascade.super_resolution.network,
    "spectrum encoder": lambda cascade: cascade.contrastive.spectrum_encoder,
}


def wait(device):
    """Wait until a device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def draw(cascade, image):
    """Draw `N_CANDIDATES` candidates of each image."""
    generators = [torch.Generator().manual_seed(number) for number in range(len(image))]
    drawn = cascade.sample(image, N_CANDIDATES, generators)
    wait(image.device)
    return drawn


@torch.no_grad()
def encode(cascade, image):
    """Encode images for all three networks, which is part of every draw."""
    for encoder in (cascade.base.encode, cascade.super_resolution.encode):
        cascade._by_image(encoder, image)
    cascade.embed_image(image)
    wait(image.device)


def seconds_of(what, cascade, image):
    """Return seconds of one call of `draw` or `encode`."""
    clock = time.perf_counter if image.device.type == "cuda" else time.process_time
    start = clock()
    what(cascade, image)
    return clock() - start


def operations(cascade, image):
    """Return the operations of one spectrum."""
    with FlopCounterMode(display=False) as counter:
        draw(cascade, image)
    return counter.get_total_flops() / (len(image) * N_CANDIDATES)


def difference(ones, others):
    """Return the relative difference of fluxes, root mean square."""
    return (ones / others - 1).square().mean().sqrt().item()


def make(way, device, dtype, weights):
    """Load the cascade of a way."""
    dtype = "int8" if way == "int8" else dtype
    cascade = PhotoSpectrograph.load(weights, device=device, dtype=dtype).cascade
    if way in ("compiled", "frozen"):
        for part in _PARTS.values():
            part(cascade).compile()
    return cascade


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", help="float32 or bfloat16")
    parser.add_argument("--weights", help="others than the default")
    parser.add_argument("--rows", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each way at least")
    parser.add_argument("--ways", nargs="+", default=["plain"], choices=WAYS)
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = check_dtype(options.dtype, device)
    matrices = matrix_rate(DTYPES[dtype] or torch.float32, device=options.device)
    found = {"device": options.device, "dtype": dtype, "matrix TFLOP/s": matrices / 1e12}
    if device.type == "cuda":
        found["name"] = torch.cuda.get_device_name(device)
    print(json.dumps(found), flush=True)
    ways = {way: make(way, options.device, dtype, options.weights) for way in options.ways}
    for rows in options.rows:
        cascade_module._SPECTRA[device.type] = rows
        generator = torch.Generator().manual_seed(0)
        n_images = max(8, rows // N_CANDIDATES)  # on processors images are encoded by eights
        image = torch.rand(n_images, 5, 64, 64, generator=generator).to(device)
        first, flux, seconds = {}, {}, {way: [] for way in ways}
        each = operations(PhotoSpectrograph.load(options.weights, device=device).cascade, image)
        for way, cascade in ways.items():
            start = time.perf_counter()
            with torch._inductor.config.patch(freezing=way == "frozen"):
                flux[way] = draw(cascade, image).flux
            first[way] = time.perf_counter() - start
            draw(cascade, image)
        while min(map(sum, seconds.values())) < options.seconds:
            for way, cascade in ways.items():
                seconds[way].append(seconds_of(draw, cascade, image))
        plain = next(iter(ways))
        for way in ways:
            speed = n_images * N_CANDIDATES / np.median(seconds[way])
            ratios = np.array(seconds[plain]) / seconds[way]
            encoding = min(seconds_of(encode, ways[way], image) for _ in range(5))
            line = {
                "rows": rows,
                "way": way,
                "spectra per second": round(speed, 1),
                f"of {plain}": round(float(np.median(ratios)), 3),
                "rms difference": float(f"{difference(flux[way], flux[plain]):.1e}"),
                "GFLOP each": round(each / 1e9, 2),
                "share of matrix rate": round(speed * each / matrices, 3),
                "share of image encoders": round(encoding / min(seconds[way]), 3),
                "first call, s": round(first[way], 1),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
