"""Images per second of `redshift_density` on one core, by processor time.

    OMP_NUM_THREADS=1 python benchmarks/density_speed.py [-n 256] [--against TREE]

Of the gate alone, of prepared images, and of images as they are read. With --against the same is
measured with the package in another checkout, turn by turn in the same run, as ratios hold on a
busy machine and numbers do not.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve()


def images(n):
    """Exponential disks with noise, as `NDData`."""
    import numpy as np
    from astropy import units as u
    from astropy.nddata import NDData

    from photospec.image import NANOMAGGY

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 32
    meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec, "galactic_ebv": 0.02}
    found = []
    for _ in range(n):
        disk = rng.uniform(1, 5, (5, 1, 1)) * np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
        data = (disk + rng.normal(0, 0.02, (5, 64, 64))).astype(np.float32)
        found.append(NDData(data, unit=NANOMAGGY, meta=dict(meta)))
    return found


def measure(n, n_repeats=3):
    """Shortest processor time per image (ms) of each way."""
    import torch

    from photospec import PhotoSpectrograph

    torch.set_num_threads(1)
    spectrograph = PhotoSpectrograph.load()
    read = images(n)
    prepared = [spectrograph.prepare(image) for image in read]
    ways = {
        "gate": lambda: [spectrograph.prepare(image) for image in read],
        "prepared": lambda: spectrograph.redshift_density(prepared),
        "read": lambda: spectrograph.redshift_density(read),
    }
    best = dict.fromkeys(ways, float("inf"))
    for repeat in range(n_repeats + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if repeat:  # the first one warms up
                best[name] = min(best[name], (time.process_time() - start) / n * 1e3)
    return best


def measure_in(tree, n):
    """Measure with the package of a checkout, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, str(HERE), "-n", str(n), "--json"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=256)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(measure(options.n)))
    else:
        trees = [HERE.parents[1], *([options.against] if options.against else [])]
        best = [{} for _ in trees]
        for _ in range(options.turns):
            for found, tree in zip(best, trees, strict=True):
                for name, value in measure_in(tree, options.n).items():
                    found[name] = min(found.get(name, value), value)
        for name, value in best[0].items():
            text = f"{name}: {value:.3f} ms, {1e3 / value:.0f} images/s"
            if options.against:
                text += f"; the other {best[1][name]:.3f} ms, {best[1][name] / value:.2f} times"
            print(text)
