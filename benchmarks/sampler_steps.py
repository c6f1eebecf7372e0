"""How few steps give the distribution of 250 ancestral ones? The table of docs/networks.rst.

    python benchmarks/sampler_steps.py TEST_PAIRS WORK_FOLDER [--weights FOLDER] [--seconds 600]

Spectra of some galaxies are drawn with the same weights in every way of `WAYS`, block after
block into WORK_FOLDER, until `--seconds` of processor time are spent; another run adds to them.
All deterministic ways start from the same noise, so they are compared pair by pair: their
difference from many steps is the error of few. Ancestral ones draw their own noise, and
distributions are compared: what must be small there is small against the sampling noise.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from line_shapes import line_shapes, shapes_at

from photospec import PhotoSpectrograph
from photospec.networks.samplers import SAMPLERS, seeded_generators
from photospec.networks.scaling import N_BASE, N_FINE, to_base, upsample
from photospec.pairs import PairsFile

#: name: sampler, steps of the base and of the super-resolution stage.
WAYS = {
    "ancestral": ("ddpm", 250, 250),
    "converged": ("dpm-solver++", 80, 40),
    "9 + 5": ("dpm-solver++", 9, 5),
    "12 + 7": ("dpm-solver++", 12, 7),
    "18 + 10": ("dpm-solver++", 18, 10),
    "25 + 15": ("dpm-solver++", 25, 15),
}
BLOCK = 32  # candidates drawn together
N_PERMUTATIONS = 500


@torch.no_grad()
def draw_block(cascade, image, way, seed):
    """Relative fluxes (BLOCK, N_FINE) of one galaxy, drawn in one of `WAYS`."""
    name, n_base, n_fine = WAYS[way]
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(BLOCK, length, generator=generator) for length in (N_BASE, N_FINE, N_BASE)]
    base, fine = cascade.base, cascade.super_resolution
    context, redshift = base.encode(image), None
    if base.density is not None:
        uniform = torch.rand(1, BLOCK, generator=generator, dtype=torch.float64)
        redshift = base.draw_redshift(image, context, uniform)

    def walk(stage, noise, condition, n_steps, key):
        sampler = SAMPLERS[name](stage.denoiser, n_steps)
        own = seeded_generators(BLOCK, seed, key) if name == "ddpm" else None
        return sampler.sample(noise, condition, own)

    drawn = walk(base, noise[0], base._condition(context, redshift=redshift), n_base, 0)
    low = upsample(drawn + fine.process.inference_augmentation * noise[2])
    told = fine._told(torch.full((BLOCK,), fine.process.inference_augmentation))
    condition = fine._condition(fine.encode(image), low, told, redshift=redshift)
    detail = walk(fine, noise[1], condition, n_fine, 1)
    return fine.scaling.flux(fine.scaling.add_detail(detail, low))


def choose(pairs, n):
    """Pairs from weak to strong emission lines, by the truth of the first 64."""
    index = slice(0, min(64, len(pairs)))
    ew = shapes_at(pairs.truth_flux(index), np.asarray(pairs.object["redshift"][index], float))
    order = np.argsort(np.nan_to_num(ew["ew"][:, -1], nan=-99))
    return [int(order[int(q * (len(order) - 1))]) for q in np.linspace(0.3, 0.95, n)]


def fill(folder, pairs, spectrograph, options):
    """Draw blocks that are not there yet; a block is one file with all ways."""
    cascade, start = spectrograph.cascade, time.process_time()
    galaxies = choose(pairs, options.n_galaxies)
    for block in range(options.n_candidates // BLOCK):
        for galaxy in galaxies:
            path = folder / f"{galaxy}-{block}.npz"
            if path.exists():
                continue
            image = torch.from_numpy(pairs.image(slice(galaxy, galaxy + 1)))
            seed = 1000 * galaxy + block
            flux = {
                way: draw_block(cascade, image, way, seed).numpy().astype(np.float32)
                for way in WAYS
            }
            np.savez(path, **flux)
            spent = time.process_time() - start
            print(f"galaxy {galaxy}, block {block}, {spent:.0f} s", flush=True)
            if spent > options.seconds:
                return


def read(folder):
    """{way: [fluxes (n, N_FINE) of each galaxy]} of the blocks in the folder."""
    blocks = {}
    for path in sorted(folder.glob("*-*.npz")):
        blocks.setdefault(int(path.stem.split("-")[0]), []).append(np.load(path))
    return {
        way: [np.concatenate([block[way] for block in blocks[g]]) for g in sorted(blocks)]
        for way in WAYS
    }


def energy_test(ones, others, rng):
    """Energy distance over the scatter of `others`, and the part of permutations above it.

    Szekely & Rizzo 2013, doi:10.1016/j.jspi.2013.03.018; logarithmic base spectra.
    """
    observed, shuffled, scatter = 0.0, np.zeros(N_PERMUTATIONS), 0.0
    for a, b in zip(ones, others, strict=True):
        both = to_base(torch.from_numpy(np.concatenate([a, b]))).log()
        distance = torch.cdist(both, both).numpy().astype(float)
        n = len(a)

        def statistic(rows, distance=distance, n=n):
            first, second = rows[:n], rows[n:]
            m = len(second)
            cross = distance[np.ix_(first, second)].mean()
            inside = distance[np.ix_(first, first)].sum() / (n * (n - 1))
            return 2 * cross - inside - distance[np.ix_(second, second)].sum() / (m * (m - 1))

        rows = np.arange(len(both))
        observed += statistic(rows)
        shuffled += [statistic(rng.permutation(rows)) for _ in range(N_PERMUTATIONS)]
        scatter += distance[n:, n:].mean()
    return observed / scatter, float(np.mean(shuffled >= observed))


def differences(ones, others):
    """Relative differences of two ways, in per cent, over pixels and galaxies.

    Parameters
    ----------
    ones, others : list of (flux, shapes)
        Of each galaxy, see `line_shapes`.

    Returns
    -------
    dict of str to float
        ``mean``: median over pixels of abs(ratio - 1); ``spread``: mean ratio - 1; ``width``,
        ``ew``: difference of the means over the typical size.
    """
    fluxes = [(a[0], b[0]) for a, b in zip(ones, others, strict=True)]
    mean = [np.abs(a.mean(0) / b.mean(0) - 1) for a, b in fluxes]
    spread = [a.std(0).mean() / b.std(0).mean() for a, b in fluxes]
    found = {"mean": np.median(mean), "spread": np.mean(spread) - 1}
    for key in ("width", "ew"):
        # in units of the lines' typical size, which for absorption and emission is not their mean
        a, b = (np.concatenate([shapes[key] for _, shapes in way]) for way in (ones, others))
        seen = np.isfinite(a).any(0) & np.isfinite(b).any(0)
        a, b = a[:, seen], b[:, seen]
        change = np.nanmean(a, axis=0) - np.nanmean(b, axis=0)
        found[key] = np.mean(change / np.nanmean(np.abs(b), axis=0)) if seen.any() else np.nan
    return {key: 100 * float(value) for key, value in found.items()}


def sampling_noise(reference, rng, n_splits=20):
    """What `differences` finds between halves of one way, scaled to the full number: rms."""
    found = []
    for _ in range(n_splits):
        halves = [[], []]
        for flux, shapes in reference:
            order = rng.permutation(len(flux))
            for half, rows in zip(halves, np.array_split(order, 2), strict=True):
                half.append((flux[rows], {key: value[rows] for key, value in shapes.items()}))
        found.append(differences(*halves))
    return {k: np.sqrt(np.nanmean([f[k] ** 2 for f in found]) / 2) for k in found[0]}


def table(draws):
    """Rows of text."""
    rng = np.random.default_rng(0)
    counts = sorted({len(flux) for flux in draws["ancestral"]})
    shaped = {way: [(flux, line_shapes(flux)) for flux in draws[way]] for way in WAYS}
    names = "  mean spread  width     EW"
    lines = [
        f"{len(draws['ancestral'])} galaxies, {counts} candidates; per cent",
        f"{'way':10s}  nfe   against converged (pairs)    against ancestral",
        f"{'':15s}{names}    {names}   energy    p",
    ]
    for way, (_, n_base, n_fine) in WAYS.items():
        cells = f"{way:10s} {n_base + n_fine:4d}"
        for reference in ("converged", "ancestral"):
            found = differences(shaped[way], shaped[reference])
            if way == "ancestral" == reference:
                found = sampling_noise(shaped[way], rng)
            cells += "".join(f" {found[k]:6.2f}" for k in ("mean", "spread", "width", "ew"))
            cells += "    "
        if way != "ancestral":
            distance, p = energy_test(draws[way], draws["ancestral"], rng)
            cells += f" {100 * distance:6.2f} {p:5.2f}"
        lines.append(cells.rstrip())
    return "\n".join([*lines, "ancestral against itself: sampling noise, from its halves"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--n-galaxies", type=int, default=4)
    parser.add_argument("--n-candidates", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with PairsFile(options.pairs) as pairs:
        fill(options.folder, pairs, PhotoSpectrograph.load(options.weights), options)
    print(table(read(options.folder)))


if __name__ == "__main__":
    main()
