"""What limits redshifts of real galaxies: their photometry, or how images are rendered.

    python benchmarks/real_redshifts.py limit CATALOGUES    # minutes
    python benchmarks/real_redshifts.py plain CATALOGUES [N]
    python benchmarks/real_redshifts.py zero-points CATALOGUES

``limit``: trees and a small density network on the catalogue photometry of the SDSS main sample
itself, without images; they learn from even rows, of it and of all catalogues, and are judged on
odd ones. ``plain``: the
densities of the bundled weights for images rendered as the survey's, and as single Sersic profiles
with other seeing and sizes and without neighbours. ``zero-points``: how the colours of the other
catalogues' galaxies (even rows) differ from those of the main sample's at the same redshift, r,
and g-r.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from sklearn.ensemble import HistGradientBoostingRegressor

from photospec import PhotoSpectrograph
from photospec.evaluation.baselines import boosted_trees, redshift_merit
from photospec.evaluation.draws import pair_images
from photospec.evaluation.real_redshifts import density_rows
from photospec.evaluation.redshift_table import redshift_row
from photospec.evaluation.value import Section, bootstrap
from photospec.pairs import PairsFile
from photospec.simulation import RealGalaxies, Survey, simulate_real_pairs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes"))
from default_weights import real_galaxies

MAIN = "sdss_main_redshift.fits"
_NETWORKS, _EPOCHS, _BATCH, _COMPONENTS, _HIDDEN = 4, 40, 256, 3, 64


def network(x, z, where, seed, n_epochs=_EPOCHS):
    """Mean redshifts (n,) by a mixture density network (Bishop 1994) of 64 hidden units."""
    torch.manual_seed(seed)
    mean, std = x.mean(axis=0), x.std(axis=0)

    def scaled(a):
        return torch.tensor(np.clip((a - mean) / std, -5, 5), dtype=torch.float32)

    inputs, target = scaled(x), torch.tensor(np.log1p(z) * 20, dtype=torch.float32)
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], _HIDDEN),
        torch.nn.GELU(),
        torch.nn.Linear(_HIDDEN, _HIDDEN),
        torch.nn.GELU(),
        torch.nn.Linear(_HIDDEN, 3 * _COMPONENTS),
    )
    with torch.no_grad():
        net[-1].bias.view(3, -1)[1] = torch.linspace(1, 4, _COMPONENTS)
    per_epoch = len(inputs) // _BATCH
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=n_epochs * per_epoch)

    def parts(x):
        weight, centre, width = net(x).unflatten(1, (3, -1)).unbind(dim=1)
        return weight.log_softmax(dim=1), centre, torch.nn.functional.softplus(width) + 0.02

    for _ in range(n_epochs):
        order = torch.randperm(len(inputs))
        for rows in order[: per_epoch * _BATCH].split(_BATCH):
            weight, centre, width = parts(inputs[rows])
            pull = (target[rows, None] - centre) / width
            loss = -(weight - 0.5 * pull**2 - width.log()).logsumexp(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    with torch.no_grad():
        weight, centre, _ = parts(scaled(where))
        return np.expm1((weight.exp() * centre).sum(dim=1).numpy() / 20)


def limit(folder):
    """Print the scatter of what learns from catalogue photometry."""
    table = Table.read(folder / MAIN)
    flux = np.stack([np.asarray(table[f"{b}_maggies"], float) for b in "ugriz"], axis=1)
    z, source = np.asarray(table["redshift"], float), np.char.strip(table["source"].astype(str))
    good, even = np.isfinite(flux).all(axis=1) & (flux > 0).all(axis=1), np.arange(len(z)) % 2 == 0
    magnitude = 22.5 - 2.5 * np.log10(np.where(flux > 0, flux, 1.0))
    colours = magnitude[:, :-1] - magnitude[:, 1:]
    r = magnitude[:, 2]
    learn = good & even & (z > 0.01) & (z < 0.5) & (r > 13.5) & (r < 20.5)
    test = good & ~even & (z > 0.02) & (z < 0.3) & (r > 14) & (r < 17.77)
    x = np.column_stack([magnitude, colours])
    trees = boosted_trees(x[learn], z[learn], merit=redshift_merit, tune=False)(x[test])
    x = np.column_stack([r, colours])
    nets = [network(x[learn], z[learn], x[test], seed) for seed in range(_NETWORKS)]
    # All that weights may learn from: K-correct's and the classified galaxies too.
    more = real_galaxies(folder)
    more = more[(more.redshift < 0.5) & (more.magnitude[:, 2] < 20.5)]
    m = more.magnitude
    learn_more = np.column_stack([m[:, 2], m[:, :-1] - m[:, 1:]]), more.redshift
    wide = [network(*learn_more, x[test], seed, n_epochs=14) for seed in range(_NETWORKS)]
    answers = {
        "trees": trees,
        "four density networks": np.mean(nets, axis=0),
        "four density networks, all catalogues": np.mean(wide, axis=0),
    }
    rows = []
    for name, found in answers.items():
        for sample in ("MLZ", "ANNZ", "both"):
            chosen = (source[test] == sample) | (sample == "both")
            rows.append(redshift_row(f"{name}, {sample}", found[chosen], z[test][chosen]))
        for low, high in ((14.0, 16.0), (16.0, 16.8), (16.8, 17.3), (17.3, 17.77)):
            chosen = (r[test] > low) & (r[test] < high)
            name_here = f"{name}, {low} < r < {high}"
            rows.append(redshift_row(name_here, found[chosen], z[test][chosen]))
    print(Section("limit", f"Catalogue photometry, {learn.sum()} to learn from", rows))


def plain(folder, n):
    """Print the quality of densities for two ways to render the same galaxies."""
    galaxies = RealGalaxies.read(
        folder / MAIN, rows=slice(1, None, 2), redshift_range=(0.02, 0.3), r_range=(14.0, 17.77)
    )
    galaxies = galaxies[np.random.default_rng(0).permutation(len(galaxies))[:n]]
    spectrograph, rows = PhotoSpectrograph.load(), []
    survey = Survey.sdss_main().replace(galactic_extinction=False)
    for rendering in ("calibrated", "plain"):
        for what, share in (("once", 0.0), ("twice", 1.0)):
            with tempfile.TemporaryDirectory() as there:
                path = Path(there) / "pairs.h5"
                simulate_real_pairs(
                    galaxies,
                    path,
                    survey,
                    full_noise=share,
                    renderings={rendering: 1.0},
                    n_pool=8000,
                )
                with PairsFile(path, bands=tuple("ugriz")) as pairs:
                    read, z = pair_images(pairs), np.asarray(pairs.object["redshift"], float)
                    density = spectrograph.redshift_density([read(i) for i in range(len(pairs))])
            rows.append(density_rows(f"{rendering}, noise counted {what}", density, z))
    print(Section("plain", "Renderings", rows))


def zero_points(folder):
    """Print the offsets of the colours of K-correct's and of the classified galaxies."""
    limits = {"rows": slice(0, None, 2), "redshift_range": (0.03, 0.2), "r_range": (14.0, 17.77)}
    samples = {
        name: RealGalaxies.read(folder / name, **limits)
        for name in (MAIN, "sdss_ugriz_redshift.fits", "sdss_classes.fits")
    }
    known, colours = {}, {}
    for name, galaxies in samples.items():
        m = galaxies.magnitude
        colours[name] = m[:, :-1] - m[:, 1:]
        known[name] = np.column_stack([galaxies.redshift, m[:, 2], colours[name][:, 1]])
    for band, label in ((0, "u-g"), (2, "r-i"), (3, "i-z")):
        model = HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=150, max_leaf_nodes=12, random_state=0
        ).fit(known[MAIN][::2], colours[MAIN][::2, band])
        for name, given in known.items():
            part = slice(1, None, 2) if name == MAIN else slice(None)
            difference = colours[name][part, band] - model.predict(given[part])
            offset = bootstrap(np.median, difference)
            print(f"{label} of {name}: {offset} ({len(difference)} galaxies)")
            for low, high in ((14.0, 16.5), (16.5, 17.2), (17.2, 17.77)):
                here = (given[part][:, 1] > low) & (given[part][:, 1] < high)
                print(f"    {low} < r < {high}: {np.median(difference[here]):+.3f}")


if __name__ == "__main__":
    if sys.argv[1] == "limit":
        limit(Path(sys.argv[2]))
    elif sys.argv[1] == "zero-points":
        zero_points(Path(sys.argv[2]))
    else:
        plain(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 800)
