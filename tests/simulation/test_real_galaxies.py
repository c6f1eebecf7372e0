"""Pairs of real galaxies: their photometry is that of the catalogue, in spectrum and image."""

import numpy as np
import pytest
from astropy.table import Table

from photospec.errors import InputError
from photospec.pairs import PairsFile
from photospec.photometry.filters import band_flux
from photospec.simulation import PopulationConfig, RealGalaxies, Survey, draw_galaxies
from photospec.simulation.galaxy_kinds import assign_kinds, label_shift, natural_sample
from photospec.simulation.real_galaxies import (
    KINDS,
    MISSING_NOISE,
    _like,
    _Pool,
    _warped,
    line_kinds,
    simulate_real_pairs,
)


@pytest.fixture(scope="module")
def simulated():
    return draw_galaxies(PopulationConfig(), np.random.default_rng(3), 1500)


@pytest.fixture(scope="module")
def real(simulated):
    """ "Real" ones: others of the simulator, with a relation of colours of their own."""
    galaxies = draw_galaxies(PopulationConfig(), np.random.default_rng(4), 192)
    magnitude = galaxies.magnitude + np.array([0.1, 0.04, 0.0, -0.02, -0.05])
    return RealGalaxies(10 ** (0.4 * (22.5 - magnitude)), galaxies.redshift)


@pytest.fixture(scope="module")
def quiet():
    """A survey without dust and neighbours, and next to no noise."""
    from dataclasses import replace

    base = Survey.sdss_main(seed=1)
    scene = replace(base.scene, galaxy_density=0.0, star_density=0.0, merger_fraction=0.0)
    return base.replace(scene=scene, galactic_extinction=False)


def test_warped_spectra_have_the_real_photometry(real, quiet):
    from photospec.simulation import render_spectra

    rng = np.random.default_rng(0)
    pool = _Pool(quiet.population, real.redshift, real.magnitude, rng, 4000)
    chosen = _like(pool.galaxies[pool.choose(real, rng)], real)
    np.testing.assert_array_equal(chosen.redshift, real.redshift)
    before = render_spectra(chosen, config=quiet.population)
    spectra, warp = _warped(before, real.flux, tuple("ugriz"))
    total = (spectra.bulge + spectra.disk).astype(float)
    found = band_flux(spectra.wavelength, total, list("ugriz"))
    np.testing.assert_allclose(found, real.flux, rtol=2e-3)
    # and no line or break is bent: the warp changes little over 50 Angstrom
    ratio = np.log(total / (before.bulge + before.disk))
    step = np.searchsorted(spectra.wavelength, spectra.wavelength[2000] + 50) - 2000
    assert np.abs(ratio[:, step:] - ratio[:, :-step]).max() < 0.1
    assert np.median(warp) < 0.2


@pytest.mark.parametrize("rendering", ["calibrated", "plain"])
def test_pairs_hold_real_fluxes_and_the_noise_that_is_missing(real, quiet, tmp_path, rendering):
    path = simulate_real_pairs(
        real,
        tmp_path / "real.h5",
        quiet,
        n_last=64,
        full_noise=0.0,
        renderings={rendering: 1},
        n_pool=4000,
        seed=2,
    )
    with PairsFile(path) as file:
        z, image, truth = np.asarray(file.object["redshift"]), file.image(), file.truth
        flux = file.truth_flux()
        assert (np.asarray(file.object["galactic_ebv"]) == 0).all()
    assert (truth["noise"] == MISSING_NOISE).all()
    assert len(z) > 0.95 * len(real)
    last = z[-60:]
    assert set(last) <= set(real.redshift[-64:])  # galaxies kept for the end stay there
    row = np.array([np.flatnonzero(real.redshift == one)[0] for one in z])
    # Nearly all of the light of most galaxies lies in the image.
    ratio = image.sum(axis=(2, 3)) / real.flux[row]
    assert np.median(ratio[:, 2]) == pytest.approx(1, abs=0.06)
    colour = np.log10(ratio[:, 1] / ratio[:, 3])
    assert np.median(np.abs(colour)) < 0.02
    # The spectrum is of the same galaxy: its colour is that of the image's middle.
    middle = image[:, :, 29:36, 29:36].sum(axis=(2, 3))
    seen = band_flux(np.arange(4000.0, 8500.0), flux, ["r"])[:, 0]
    assert np.corrcoef(np.log(seen), np.log(middle[:, 2]))[0, 1] > 0.9
    # Noise of the corners: a fifth of the survey's.
    corner = image[:, 2, :6, :6].reshape(len(image), -1)
    mad = 1.4826 * np.median(np.abs(corner - np.median(corner, axis=1, keepdims=True)))
    assert mad < 0.5 * quiet.noise.sky_rms[2]


def test_real_images_keep_their_zero_points(real, quiet, tmp_path):
    """Images have the fluxes of the catalogue, spectra are warped to AB ones."""
    survey = quiet.replace(zero_points=(0.08, 0.0, 0.0, 0.2, 0.0))
    found = {}
    for name, used in (("ab", quiet), ("own", survey)):
        path = simulate_real_pairs(
            real, tmp_path / f"{name}.h5", used, full_noise=0.0,
            renderings={"calibrated": 1}, n_pool=4000, seed=2,
        )  # fmt: skip
        with PairsFile(path) as file:
            z = np.asarray(file.object["redshift"])
            row = np.array([np.flatnonzero(real.redshift == one)[0] for one in z])
            light = file.image().sum(axis=(2, 3)) / real.flux[row]
            band = band_flux(np.arange(4000.0, 8500.0), file.truth_flux(), ["r", "i"], partial=True)
            found[name] = (
                np.median(light / light[:, 2:3], axis=0),
                np.median(band[:, 1] / band[:, 0]),
            )
    np.testing.assert_allclose(found["own"][0], found["ab"][0], atol=0.02)
    assert found["own"][1] / found["ab"][1] == pytest.approx(10**0.08, abs=0.03)


def test_same_seed_same_pairs_and_files_are_not_overwritten(real, quiet, tmp_path):
    options = {"n_pool": 1500, "seed": 5}
    paths = [tmp_path / name for name in ("a.h5", "b.h5")]
    images = []
    for path in paths:
        with PairsFile(simulate_real_pairs(real[:64], path, quiet, **options)) as file:
            images.append(file.image())
    np.testing.assert_array_equal(*images)
    with pytest.raises(InputError, match="exists"):
        simulate_real_pairs(real[:64], paths[0], quiet, **options)


def test_kinds_follow_the_lines(simulated):
    kind = line_kinds(simulated, PopulationConfig())
    assert set(kind) <= set(KINDS)
    agn = kind == "agn"
    active = np.isin(simulated.agn_type, [1, 2])
    assert active[agn].mean() > 2 * active[~agn].mean()
    quiescent = {name: simulated.quiescent[kind == name].mean() for name in set(kind)}
    assert quiescent["unclassified"] > 0.5
    assert quiescent["starforming"] < 0.7 * quiescent["unclassified"]


def test_class_frequencies_are_found_again():
    """Two overlapping classes, trained on equal numbers, in a sample with one in ten."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    rare = rng.random(20_000) < 0.1
    x = rng.normal(np.where(rare, 1.0, -0.5), 1.0)
    likelihood = np.stack([norm.pdf(x, -0.5), norm.pdf(x, 1.0)], axis=1)
    posterior = likelihood / likelihood.sum(axis=1, keepdims=True)
    assert posterior[:, 1].mean() > 0.25  # taken as it is, the sample seems to have many
    frequency, corrected = label_shift(posterior, [0.5, 0.5])
    assert frequency[1] == pytest.approx(0.1, abs=0.015)
    assert corrected[:, 1].mean() == pytest.approx(frequency[1], abs=1e-4)
    with pytest.raises(InputError, match="posterior, prior"):
        label_shift(posterior, [1.0])


def test_kinds_of_galaxies_without_one(simulated):
    pytest.importorskip("sklearn")
    flux = 10 ** (0.4 * (22.5 - simulated.magnitude))
    kind = np.where(simulated.quiescent, "unclassified", "starforming")
    everything = RealGalaxies(flux, simulated.redshift, kind)
    # Examples hold both kinds in equal numbers, the sample has its own.
    rows = np.concatenate([np.flatnonzero(kind == name)[:250] for name in np.unique(kind)])
    unknown = RealGalaxies(flux, simulated.redshift)
    found, frequency = assign_kinds(unknown, everything[rows])
    truth = np.mean(kind == "starforming")
    assert frequency["starforming"] == pytest.approx(truth, abs=0.08)
    assert np.mean(found.kind == kind) > 0.75
    natural = natural_sample(everything[rows], frequency)
    assert np.mean(natural.kind == "starforming") == pytest.approx(truth, abs=0.12)
    with pytest.raises(InputError, match="several kinds"):
        assign_kinds(unknown, everything[kind == "starforming"])


def test_catalogues_are_read(tmp_path):
    table = Table({f"{b}_maggies": [1.0, 10, 100, -1, 50] for b in "ugriz"})
    table["r_maggies"] = [30.0, 30, 100, 30, 1e-3]
    table["redshift"] = [0.1, 0.2, 0.9, 0.1, 0.1]
    table["subclass"] = ["agn", "broadline", "agn", "agn", "starburst"]
    table.write(tmp_path / "table.fits")
    galaxies = RealGalaxies.read(tmp_path / "table.fits")
    assert galaxies.redshift.tolist() == [0.1, 0.2]  # beyond, negative, too faint
    assert galaxies.kind.tolist() == ["agn", "agn"]
    assert len(RealGalaxies.read(tmp_path / "table.fits", rows=slice(1, None, 2))) == 1
    both = RealGalaxies.concatenate([galaxies, galaxies[:1]])
    assert len(both) == 3
    with pytest.raises(InputError, match="got none"):
        RealGalaxies.read(tmp_path / "table.fits", redshift_range=(2, 3))
    with pytest.raises(InputError, match="expected a table"):
        RealGalaxies.read(tmp_path / "missing.fits")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda g: RealGalaxies(-g.flux, g.redshift), "positive nanomaggies"),
        (lambda g: RealGalaxies(g.flux, g.redshift[:3]), "expected shapes"),
        (lambda g: RealGalaxies(g.flux, g.redshift, ["star"] * len(g)), "got 'star'"),
        (
            lambda g: simulate_real_pairs(g, "x.h5", renderings={"painted": 1}),
            "renderings: expected shares",
        ),
        (lambda g: simulate_real_pairs(g, "x.h5", full_noise=2), "full_noise: expected"),
        (
            lambda g: simulate_real_pairs(g, "x.h5", Survey.desi_legacy()),
            "survey: expected bands u,g,r,i,z",
        ),
    ],
)
def test_refusals(real, make, match):
    with pytest.raises(InputError, match=match):
        make(real)
