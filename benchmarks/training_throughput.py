"""Pairs per second: read from disk, trained by the default networks and by the published ones.

    python benchmarks/training_throughput.py [--threads 1] [--batch-size 32] [--device cpu]

Reading is what a step waits for: random pairs from the HDF5 file, turned and mirrored; the file
is never in memory as a whole. On a machine that others use, look at pairs per processor second
at ``--threads 1``: waiting does not enter them. Weights are random and the pairs are noise;
speed depends on neither. The default networks see a galaxy's spectrum with several noise levels
in each step, the published ones with one; the ratios are of pairs and of noisy spectra. On a GPU
networks run in bfloat16 and, with ``--compile``, compiled.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

STAGES = ("base", "super-resolution", "contrastive")
PRESETS = {"default": "small", "published": "published"}
N_PAIRS = 512


def write_pairs(path, n=N_PAIRS):
    """Pairs of the usual size, of which only the size matters."""
    import numpy as np

    from photospec.pairs import PairsWriter
    from photospec.spectrum import WAVELENGTH

    rng = np.random.default_rng(0)
    with PairsWriter(path, "ugriz", 0.396, WAVELENGTH, {"survey": "noise"}) as writer:
        for _ in range(0, n, 64):
            flux = rng.uniform(1, 2, (64, WAVELENGTH.size)).astype("f4")
            writer.append(
                rng.normal(1, 1, (64, 5, 64, 64)).astype("f4"),
                flux,
                np.ones_like(flux),
                object={"redshift": rng.uniform(0.02, 0.2, 64)},
                truth={"redshift": rng.uniform(0.02, 0.2, 64)},
                truth_flux=flux,
            )


def settings(preset, stage, *, batch_size, compiled=False):
    """Of a preset, for a few steps on these pairs."""
    from photospec.training import TrainConfig

    config = TrainConfig.preset(preset, stage)
    return replace(
        config,
        max_epochs=0,
        max_steps=100,
        batch_size=batch_size,
        validation_pairs=64,
        target="truth",
        compile=compiled,
    )


def _timed(action, n_pairs, *, n_times, wait=lambda: None):
    """Pairs per second and per processor second, medians after a first time that warms up."""
    import numpy as np

    times = []
    for number in range(n_times + 1):
        wait()
        start = time.perf_counter(), time.process_time()
        action(number)
        wait()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return tuple(n_pairs / np.median(times[1:], axis=0))


def reading_rate(path, *, batch_size=32, n_steps=10):
    """Rates of `photospec.training.data.PairsStream` for the default base stage."""
    from photospec.training.data import PairsStream

    stream = PairsStream(path, settings("small", "base", batch_size=batch_size))
    found = _timed(stream.batch, batch_size, n_times=n_steps)
    stream.close()
    return found


def training_rate(path, preset, stage, *, batch_size=32, n_steps=3, device="cpu", compiled=False):
    """Rates of optimiser steps, without the reading."""
    import torch

    from photospec.training.data import PairsStream
    from photospec.training.trainer import Trainer

    config = settings(preset, stage, batch_size=batch_size, compiled=compiled)
    stream = PairsStream(path, config)
    trainer = Trainer(config, stream, device)
    batch = stream.batch(0)
    stream.close()
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    return _timed(
        lambda step: trainer.update(None, (step, batch)), batch_size, n_times=n_steps, wait=wait
    )


class TrainingThroughput:
    """Pairs per second; ``reading`` has to be above all others."""

    params = ((*STAGES, "reading"), tuple(PRESETS))
    param_names = ("stage", "networks")
    timeout = 900
    unit = "pairs/s"

    def setup_cache(self):
        path = Path("pairs.h5").absolute()
        write_pairs(path)
        return str(path)

    def track_pairs_per_second(self, path, stage, networks):
        if stage == "reading":
            return reading_rate(path)[0]
        size = 32 if networks == "default" else 8
        return training_rate(path, PRESETS[networks], stage, batch_size=size, n_steps=2)[0]


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=0, help="0 leaves them as they are")
    parser.add_argument("--batch-size", type=int, default=32, help="of the default networks")
    parser.add_argument("--published-batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="steps to time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="the default networks")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(
        f"{options.device}, {torch.get_num_threads()} threads; pairs per second of wall clock and"
    )
    print("and of processor; for networks the ratio to the published ones: pairs, noisy spectra")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.h5"
        write_pairs(path)
        wall, processor = reading_rate(path, batch_size=options.batch_size)
        print(f"{'reading':17s} {'':10s} {wall:9.1f} {processor:9.1f}")
        seconds = dict.fromkeys(PRESETS, 0.0)
        which = 1 if options.device == "cpu" else 0
        for stage in STAGES:
            rates = {}
            for name, preset in PRESETS.items():
                rates[name] = training_rate(
                    path,
                    preset,
                    stage,
                    batch_size=(
                        options.batch_size if name == "default" else options.published_batch_size
                    ),
                    n_steps=options.steps,
                    device=options.device,
                    compiled=options.compile and name == "default",
                )
            for name, (wall, processor) in rates.items():
                ratio = rates[name][which] / rates["published"][which]
                seconds[name] += 1 / rates[name][which]
                n_draws = settings(PRESETS[name], stage, batch_size=1).n_draws
                print(
                    f"{stage:17s} {name:10s} {wall:9.2f} {processor:9.2f} {ratio:7.1f} "
                    f"{ratio * n_draws:7.1f}"
                )
        ratio = seconds["published"] / seconds["default"]
        print(f"a pair through all three stages: {ratio:.1f} times faster than published")


if __name__ == "__main__":
    main()
