"""How few steps give the distribution of 250 ancestral ones? The table of docs/networks.rst.

    python benchmarks/sampler_steps.py TEST_PAIRS WORK_FOLDER [--weights FOLDER] [--part 1 2]

Spectra of some galaxies are drawn with the same weights in every way of `WAYS`, galaxy after
galaxy into WORK_FOLDER, until `--seconds` of processor time are spent; another run adds to
them, and ``--part 1 2`` and ``--part 2 2`` share the galaxies between two processes.

The i-th candidate of a galaxy has the same redshift in every way, so that only the samplers
differ. Few steps start from the same noise as the many deterministic ones and are compared with
these pair by pair, free of sampling noise. Ancestral ones draw their own noise: there the
differences are to be read beside those of two halves of the ancestral spectra.
``--tables docs/networks_sampler_steps.inc`` writes what docs/networks.rst shows. ``--fitted
FOLDER`` adds the way of a folder's config.toml with steps fitted to the same weights
(recipes/fit_steps.py).
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from line_shapes import line_shapes, shapes_at
from rst_tables import simple_table
from sampler_distances import (
    differences,
    energy_test,
    measured,
    property_differences,
    sampling_noise,
)

from photospec import PhotoSpectrograph
from photospec.networks.samplers import DDPMSampler, seeded_generators
from photospec.networks.scaling import N_BASE, N_FINE
from photospec.pairs import PairsFile
from photospec.spectrum import WAVELENGTH
from photospec.weights import read_config

#: name: sampler, steps of the base and of the super-resolution stage, smallest noise.
WAYS = {
    "ancestral": ("ddpm", 250, 250, None),
    "converged": ("dpm-solver++", 80, 40, 0.02),
    "3 + 2": ("dpm-solver++", 3, 2, 0.02),
    "4 + 3": ("dpm-solver++", 4, 3, 0.02),
    "5 + 3": ("dpm-solver++", 5, 3, 0.02),
    "6 + 4": ("dpm-solver++", 6, 4, 0.02),
    "9 + 5": ("dpm-solver++", 9, 5, 0.02),
    "18 + 10": ("dpm-solver++", 18, 10, 0.02),
    "6 + 4 to 0.05": ("dpm-solver++", 6, 4, 0.05),
    "7 + 3 to 0.05": ("dpm-solver++", 7, 3, 0.05),
    "9 + 3 to 0.05": ("dpm-solver++", 9, 3, 0.05),
    "7 + 3 in int8": ("dpm-solver++", 7, 3, 0.05),
}
#: Steps of both stages, by way, of those that are fitted.
FITTED = {}
_NONE = (None, None)
#: Columns of the tables, and what `differences` calls them.
KEYS = {
    "mean": "mean",
    "spread": "spread",
    "components": "components",
    "line width": "width",
    "line EW": "ew",
}


class Galaxy:
    """Everything that all ways share: tokens of one image, redshifts, starting noise."""

    def __init__(self, cascade, image, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.base, self.fine, self.n, self.seed = cascade.base, cascade.super_resolution, n, seed
        self.cascade = cascade
        self.contexts = self.base.encode(image), self.fine.encode(image)
        self.noise = [torch.randn(n, m, generator=generator) for m in (N_BASE, N_FINE, N_BASE)]
        self.redshift = None
        if self.base.density is not None:
            # one in each n-th part of the density: less noise in what all ways share
            uniform = (torch.arange(n) + torch.rand(n, generator=generator).double()) / n
            self.redshift = self.base.draw_redshift(image, self.contexts[0], uniform[None])

    def draw(self, way):
        """Relative fluxes (n, N_FINE)."""
        sampler, n_base, n_fine, lowest = WAYS[way]
        if sampler == "ddpm":
            fine = self._ancestral(n_base, n_fine)
        else:
            options = {"redshift": self.redshift, "sampler": sampler}
            for stage, steps in zip(
                (self.base, self.fine), FITTED.get(way, 2 * [None]), strict=True
            ):
                stage.steps = steps
                stage.spacing = (lowest, *stage.spacing[1:])
            self.cascade.set_precision(torch.int8 if way.endswith("int8") else None)
            start, detail, extra = self.noise
            low, _ = self.base.sample(self.contexts[0], start, n_steps=n_base, **options)
            fine, _ = self.fine.sample(
                self.contexts[1], low, detail, extra, n_steps=n_fine, **options
            )
            self.cascade.set_precision(None)
        return self.fine.scaling.flux(fine)

    def _ancestral(self, n_base, n_fine):
        """As the stages do it, with the schedule's own times and not the default's spacing."""

        def walk(stage, noise, condition, n_steps, key):
            own = seeded_generators(self.n, self.seed, key)
            return DDPMSampler(stage.denoiser, n_steps).sample(noise, condition, own)

        told = {"redshift": self.redshift}
        base = walk(
            self.base,
            self.noise[0],
            self.base.seen(self.contexts[0], **told),
            n_base,
            0,
        )
        low, condition = self.fine.seen(self.contexts[1], base, self.noise[2], **told)
        return self.fine.scaling.add_detail(
            walk(self.fine, self.noise[1], condition, n_fine, 1), low
        )


def choose(pairs, n):
    """Pairs from weak to strong emission lines, by the truth of the first 256."""
    index = slice(0, min(256, len(pairs)))
    ew = shapes_at(pairs.truth_flux(index), np.asarray(pairs.object["redshift"][index], float))
    order = np.argsort(np.nan_to_num(ew["ew"][:, -1], nan=-99))
    chosen = [int(order[int(q * (len(order) - 1))]) for q in np.linspace(0.4, 0.97, n)]
    # from the middle outwards, so that a run cut short is of typical galaxies still
    return [chosen[i] for i in np.argsort(np.abs(np.arange(n) - n / 2), kind="stable")]


@torch.no_grad()
def fill(folder, pairs, spectrograph, options):
    """Draw galaxies that are not there yet; one file for each way of each galaxy."""
    start, n = time.process_time(), options.n_candidates
    part, n_parts = options.part
    for galaxy in choose(pairs, options.n_galaxies)[part - 1 :: n_parts]:
        missing = [way for way in options.ways if not _path(folder, galaxy, way).exists()]
        if not missing:
            continue
        if time.process_time() - start > options.seconds:
            return
        image = torch.from_numpy(pairs.image(slice(galaxy, galaxy + 1)))
        shared = Galaxy(spectrograph.cascade, image, n, galaxy)
        redshift = np.empty(0) if shared.redshift is None else shared.redshift.numpy()
        for way in missing:
            path = _path(folder, galaxy, way)
            with open(path.with_suffix(".partial"), "wb") as file:
                np.savez(file, flux=shared.draw(way).numpy(), redshift=redshift)
            path.with_suffix(".partial").replace(path)
        print(f"galaxy {galaxy}, {time.process_time() - start:.0f} s", flush=True)


def _path(folder, galaxy, way):
    return folder / f"{galaxy} {way}.npz"


def read(folder, ways):
    """{way: [(fluxes (n, N_FINE), shapes, redshifts) of each galaxy]}, complete galaxies only."""
    numbers = sorted({int(path.stem.split()[0]) for path in folder.glob("*.npz")})
    draws = {way: [] for way in ways}
    for number in numbers:
        paths = {way: _path(folder, number, way) for way in ways}
        if not all(path.exists() for path in paths.values()):
            continue
        for way, path in paths.items():
            with np.load(path) as file:
                flux, redshift = file["flux"], file["redshift"]
            # at the redshift drawn, or else the one that a spectrum shows
            shapes = shapes_at(flux, redshift) if len(redshift) else line_shapes(flux)
            draws[way].append((flux, shapes, redshift))
    return draws


def tables(draws):
    """Against many steps from the same noise, and against ancestral ones."""
    rng = np.random.default_rng(0)
    names = list(KEYS)
    same, ancestral = [], []
    for way in draws:
        _, n_base, n_fine, lowest = WAYS[way]
        start = [f"{n_base} + {n_fine}" + " int8" * way.endswith("int8")]
        start += [str(lowest), f"{n_base + n_fine}"]
        if way not in ("ancestral", "converged"):
            same.append([*start, *_cells(differences(draws[way], draws["converged"]))])
        if way == "ancestral" or "ancestral" not in draws:
            continue
        distance, limit, p = energy_test(draws[way], draws["ancestral"], rng)
        found = _cells(differences(draws[way], draws["ancestral"]))
        ancestral.append(
            [*start, *found, f"{100 * distance:.2f} %", f"{100 * limit:.2f} %", f"{p:.2f}"]
        )
    counts = sorted({len(flux) for flux, *_ in draws["converged"]})
    parts = [
        f"{len(draws['converged'])} galaxies with {' or '.join(map(str, counts))} candidates each.",
        simple_table(["Against 80 + 40, same noise", "lowest", "nfe", *names], same),
    ]
    if ancestral:
        chance = ["chance alone", "", "", *_cells(sampling_noise(draws["ancestral"], rng))]
        header = ["Against 250 + 250 ancestral", "lowest", "nfe", *names]
        rows = [[*chance, "", "", ""], *ancestral]
        parts.append(simple_table([*header, "energy", "by chance", "p"], rows))
    return "\n\n".join(parts)


def property_table(draws, n, config):
    """Properties measured on the first n candidates, against many steps from the same noise."""
    lsf = np.interp(WAVELENGTH, config.lsf_wavelength, config.lsf_sigma)
    rows, many = [], measured([flux[:n] for flux, *_ in draws["converged"]], lsf)
    for way, drawn in draws.items():
        if way in ("ancestral", "converged"):
            continue
        found = property_differences(measured([flux[:n] for flux, *_ in drawn], lsf), many)
        rows.append([way, *(f"{rms:.3f} ({worst})" for rms, worst in found.values())])
    return simple_table([f"Properties of {n} of each", "scatter", "shift", "width"], rows)


def _cells(found):
    return [f"{found[key]:.2f} %" for key in KEYS.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--n-galaxies", type=int, default=40)
    parser.add_argument("--n-candidates", type=int, default=64)
    parser.add_argument("--part", type=int, nargs=2, default=(1, 1), help="draw the k-th of n")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--fitted", type=Path, nargs="+", default=[], help="folders of weights")
    parser.add_argument("--seconds", type=float, default=3600, help="stop drawing after these")
    parser.add_argument("--tables", type=Path, help="write them there, too")
    parser.add_argument(
        "--properties", type=int, default=0, help="measure so many candidates of each galaxy, too"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for folder in options.fitted:
        sampling = read_config(folder).sampling
        FITTED[folder.name] = [sampling.fitted_steps(s) for s in ("base", "super_resolution")]
        n_steps = sampling.n_steps_base, sampling.n_steps_super_resolution
        WAYS[folder.name] = ("fitted", *n_steps, "fitted")
        options.ways.append(folder.name)
    weights = PhotoSpectrograph.load(options.weights, dtype="float32")
    with PairsFile(options.pairs) as pairs:
        fill(options.folder, pairs, weights, options)
    draws = read(options.folder, options.ways)
    text = tables(draws)
    print(text)
    if options.properties:
        print("\n" + property_table(draws, options.properties, read_config(weights.folder)))
    if options.tables:
        options.tables.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
