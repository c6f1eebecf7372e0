"""Candidates per second that a device draws, and their share of its matrix rate.

    python benchmarks/draw_device.py [--device cuda] [--rows 128 512 2048] [--seconds 5]

Draws candidates with the bundled weights through both stages, ranked, in batches of so many
spectra, with ``--compile`` with compiled networks too, beside the rate of square matrix products of
the same type in the same run. Operations are counted as PyTorch's `FlopCounterMode` counts them:
products alone.
"""

import argparse
import json
import time

import torch
from ratios import matrix_rate
from torch.utils.flop_counter import FlopCounterMode

from photospec import PhotoSpectrograph
from photospec.networks import cascade as cascade_module
from photospec.networks.devices import DTYPES, check_dtype

N_CANDIDATES = 8
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
    return cascade.sample(image, N_CANDIDATES, generators)


def rate(cascade, image, seconds):
    """Return spectra per second, over at least so many seconds, and the first call's seconds."""
    start = time.perf_counter()
    draw(cascade, image)
    wait(image.device)
    first = time.perf_counter() - start
    draw(cascade, image)
    wait(image.device)
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        draw(cascade, image)
        wait(image.device)
        n += 1
    return n * len(image) * N_CANDIDATES / (time.perf_counter() - start), first


def operations(cascade, image):
    """Return the operations of one spectrum."""
    with FlopCounterMode(display=False) as counter:
        draw(cascade, image)
    return counter.get_total_flops() / (len(image) * N_CANDIDATES)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", help="float32 or bfloat16")
    parser.add_argument("--rows", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--compile", action="store_true", help="compiled networks, too")
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = check_dtype(options.dtype, device)
    matrices = matrix_rate(DTYPES[dtype] or torch.float32, device=options.device)
    found = {"device": options.device, "dtype": dtype, "matrix TFLOP/s": matrices / 1e12}
    if device.type == "cuda":
        found["name"] = torch.cuda.get_device_name(device)
    print(json.dumps(found), flush=True)
    for compiled in (False, True)[: 1 + options.compile]:
        cascade = PhotoSpectrograph.load(device=options.device, dtype=dtype).cascade
        if compiled:
            for part in _PARTS.values():
                part(cascade).compile()
        for rows in options.rows:
            cascade_module._SPECTRA[device.type] = rows
            generator = torch.Generator().manual_seed(0)
            image = torch.rand(rows // N_CANDIDATES, 5, 64, 64, generator=generator).to(device)
            if not compiled:
                each = operations(cascade, image)
            speed, first = rate(cascade, image, options.seconds)
            line = {
                "rows": rows,
                "compiled": compiled,
                "spectra per second": round(speed, 1),
                "GFLOP each": round(each / 1e9, 2),
                "share of matrix rate": round(speed * each / matrices, 3),
                "first call, s": round(first, 1),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
