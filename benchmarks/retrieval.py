"""How often the contrastive network finds an image's own spectrum, and the other way round.

    python benchmarks/retrieval.py TEST_PAIRS [--weights FOLDER] [--counts 512 5000]

Among the noiseless spectra of as many pairs, never trained on, or of all that there are.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from photospec import PhotoSpectrograph
from photospec.networks.scaling import to_base, upsample
from photospec.pairs import PairsFile

AT_ONCE = 256


def embeddings(spectrograph, pairs):
    """Unit vectors (n, size) of images, of fine and of base spectra."""
    cascade, found = spectrograph.cascade, []
    for start in range(0, len(pairs), AT_ONCE):
        index = slice(start, start + AT_ONCE)
        image, flux = (torch.from_numpy(x) for x in (pairs.image(index), pairs.truth_flux(index)))
        coarse = upsample(to_base(flux).log()).exp()
        spectra = [cascade.embed_spectrum(x) for x in (flux, coarse)]
        found.append([x.numpy() for x in (cascade.embed_image(image), *spectra)])
    return [np.concatenate(part) for part in zip(*found, strict=True)]


def retrieval(queries, answers, count, tops=(1, 10)):
    """Part of the queries whose own answer is among the most similar, over groups of `count`."""
    ranks = []
    for start in range(0, len(queries) - count + 1, count):
        rows = slice(start, start + count)
        similarity = queries[rows] @ answers[rows].T
        ranks.append((similarity > np.diag(similarity)[:, None]).sum(axis=1))
    return [float(np.mean(np.concatenate(ranks) < top)) for top in tops]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--counts", type=int, nargs="+", default=[512, 5000])
    options = parser.parse_args()
    with PairsFile(options.pairs) as pairs:
        image, fine, base = embeddings(PhotoSpectrograph.load(options.weights), pairs)
    for count in sorted({min(count, len(image)) for count in options.counts}):
        print(f"among {count}")
        for name, queries, answers in (
            ("spectrum of an image", image, fine),
            ("base spectrum of an image", image, base),
            ("image of a spectrum", fine, image),
        ):
            top1, top10 = retrieval(queries, answers, count)
            print(f"  {name:26s} top-1 {100 * top1:5.1f} %   top-10 {100 * top10:5.1f} %")


if __name__ == "__main__":
    main()
