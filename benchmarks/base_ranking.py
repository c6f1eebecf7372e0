"""Is a base spectrum that is similar to its image closer to the truth? (``n_keep``.)

    python benchmarks/base_ranking.py TEST_PAIRS [--n-galaxies 64] [--n-candidates 16]

Base spectra are drawn and ranked; of the most similar ones of each galaxy, and of all, the
table says how far one of them is from the truth (CRPS of one: mean absolute error of the
logarithm), and how well the set describes it (fair CRPS, and the part of true bins outside of
the set's range against what it should be).
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from photospec import PhotoSpectrograph
from photospec.networks.samplers import seeded_generators
from photospec.networks.scaling import N_BASE, to_base, upsample
from photospec.pairs import PairsFile


@torch.no_grad()
def draw(cascade, image, n_candidates, seed):
    """Log base spectra (n_candidates, N_BASE) of one image, the most similar first."""
    (generator,) = seeded_generators(1, seed)
    context, redshift = cascade.base.encode(image), None
    if cascade.base.density is not None:
        uniform = torch.rand(1, n_candidates, generator=generator, dtype=torch.float64)
        redshift = cascade.base.draw_redshift(image, context, uniform)
    noise = torch.randn(n_candidates, N_BASE, generator=generator)
    base, _ = cascade.base.sample(
        context,
        noise,
        redshift=redshift,
        sampler=cascade.sampler,
        n_steps=cascade.n_steps_base,
        generator=[generator],
    )
    flux = cascade.base.scaling.flux(upsample(base))
    order = cascade.similarity(image, flux[None])[0].argsort(descending=True)
    return to_base(flux[order]).log().numpy()


def row(log, truth):
    """Error of one, fair CRPS and part outside of sets (n, m, N_BASE)."""
    m = log.shape[1]
    error = np.abs(log - truth[:, None]).mean((1, 2))
    spread = np.abs(log[:, :, None] - log[:, None]).mean((1, 2, 3)) * m / max(m - 1, 1)
    outside = (truth < log.min(1)) | (truth > log.max(1))
    return error, error - spread / 2, outside.mean(1)


def _line(values):
    return "  ".join(f"{v.mean():+.4f} +- {v.std() / np.sqrt(len(v)):.4f}" for v in values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--n-galaxies", type=int, default=64)
    parser.add_argument("--n-candidates", type=int, default=16)
    options = parser.parse_args()
    n, m = options.n_galaxies, options.n_candidates
    cascade = PhotoSpectrograph.load(options.weights).cascade
    with PairsFile(options.pairs) as pairs:
        truth = to_base(torch.from_numpy(pairs.truth_flux(slice(0, n)))).log().numpy()
        image = torch.from_numpy(pairs.image(slice(0, n)))
    log = np.stack([draw(cascade, image[i : i + 1], m, i) for i in range(n)])
    log -= log.mean(-1, keepdims=True)
    truth -= truth.mean(-1, keepdims=True)
    print(f"{n} galaxies; kept of {m}: error of one, CRPS, bins outside (should be)")
    print("the second line of each: change against all, with its own error")
    every = row(log, truth)
    for kept in sorted({m, m // 2, m // 4, 2, 1}, reverse=True):
        found = row(log[:, :kept], truth)
        print(f"{kept:4d}  " + _line(found) + f"  ({2 / (kept + 1):.3f})")
        print("      " + _line([one - other for one, other in zip(found, every, strict=True)]))


if __name__ == "__main__":
    main()
