"""Images that no prediction should be trusted for: how many of each kind get a flag?"""

from __future__ import annotations

import warnings
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from photospec.errors import PhotospecWarning
from photospec.evaluation.draws import ResultStore, image_of, key_of
from photospec.evaluation.value import Section, Value, bootstrap

if TYPE_CHECKING:
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["ood_card", "unusual_images"]

# Redshifts beyond the training, and how faint galaxies there are taken. The simulation ends at
# 0.5: luminous red galaxies at 0.6 have the colours of Eisenstein et al. (2001, AJ 122, 2267).
_OFF_RANGE = {0.35: 19.3, 0.45: 20.0}
_RED_GALAXIES = ((1.5, 1.6, 0.9, 0.35), (2.5, 1.9, 1.2, 0.5))
# u-g, g-r, r-i, i-z of stars along the locus (Covey et al. 2007, AJ 134, 2398), of white dwarfs
# and of quasars below redshift two (Richards et al. 2001, AJ 121, 2308).
_POINTS = {
    "A and F stars": ((1.0, 0.15, 0.0, -0.05), (0.9, 0.3, 0.1, 0.0)),
    "G and K stars": ((1.3, 0.5, 0.18, 0.08), (2.2, 0.95, 0.38, 0.2)),
    "M dwarfs": ((2.5, 1.35, 0.75, 0.42), (2.5, 1.45, 1.5, 0.85)),
    "quasars": ((0.15, 0.15, 0.15, 0.05), (0.35, 0.3, 0.1, 0.1)),
}


def unusual_images(survey, ordinary, *, n=100, seed=0):
    """Yield the images unlike those of the training, by kind.

    Parameters
    ----------
    survey : photospec.simulation.Survey
    ordinary : ndarray (m, 5, size, size)
        Images of ordinary galaxies, to spoil; nanomaggies.
    n : int
        Images of each kind.
    seed : int

    Yields
    ------
    kind : str
    images : ndarray (n, 5, size, size)
    """
    for number, (redshift, limit) in enumerate(_OFF_RANGE.items()):
        population = replace(
            survey.population,
            redshift_min=redshift - 0.01,
            redshift_max=redshift + 0.01,
            r_limit=limit,
        )
        beyond = survey.replace(population=population, seed=seed + 1 + number)
        yield f"galaxies at z = {redshift}", beyond.simulate(n).image
    rng = np.random.default_rng(seed)
    red = tuple(map(np.array, _RED_GALAXIES))
    shape = {"sersic": 4.0, "radius": (1.0, 2.0), "r": (19.3, 20.5)}
    yield "luminous red galaxies at z = 0.6", _sources(survey, rng, n, *red, **shape)
    for kind, colours in _POINTS.items():
        yield kind, _sources(survey, rng, n, *map(np.array, colours))
    base = ordinary[rng.integers(len(ordinary), size=n)].astype(np.float32)
    yield "saturated cores", _saturated(base, rng)
    yield "one band three times too bright", _one_band(base, rng, 3.0)
    yield "one band dark", _one_band(base, rng, 0.02)
    yield "bands shifted by 2 arcsec", _shifted(base, rng, survey.pixel_scale)
    yield "streak across the target", _streak(base, rng)
    yield "cosmic rays on the target in one band", _cosmic_rays(base, rng)


def _sources(survey, rng, n, blue, red, *, sersic=None, radius=(0.0, 0.0), r=(15.5, 18.0)):
    """Return images of one source each, with colours between two; points by default."""
    from photospec.simulation.instrument.images import OTHER, Sources, render_images
    from photospec.simulation.instrument.noise import add_noise, draw_shifts, draw_sky
    from photospec.simulation.instrument.profiles import POINT
    from photospec.simulation.instrument.psf import draw_psf

    share = rng.random((n, 1))
    colours = blue * (1 - share) + red * share + 0.03 * rng.standard_normal((n, 4))
    r = rng.uniform(*r, n)
    ug, gr, ri, iz = colours.T
    magnitude = np.stack([r + gr + ug, r + gr, r, r - ri, r - ri - iz], axis=1)
    zero = np.zeros(n)
    sources = Sources(
        image=np.arange(n),
        sersic_index=np.full(n, float(POINT) if sersic is None else sersic),
        half_light_radius=rng.uniform(*radius, n),
        axis_ratio=zero + 1,
        position_angle=zero,
        x=rng.uniform(-0.2, 0.2, n),
        y=rng.uniform(-0.2, 0.2, n),
        arm_pitch=zero,
        arm_phase=zero,
        component=np.full(n, OTHER),
        flux=10 ** (0.4 * (22.5 - magnitude)),
    )
    shifts = draw_shifts(survey.noise, rng, n, survey.bands)
    psf = draw_psf(survey.psf, rng, n)
    options = {"size": survey.size, "pixel_scale": survey.pixel_scale}
    clean, _ = render_images(sources, psf, shifts, **options)
    return add_noise(clean, draw_sky(survey.noise, rng, n), shifts, survey.noise, rng)


def _saturated(image, rng):
    """Make images brighter by 30 to 300, cut where the detector of each band is full."""
    image = image * 10 ** rng.uniform(1.5, 2.5, (len(image), 1, 1, 1))
    full = 0.2 * image.max(axis=(2, 3), keepdims=True)
    return np.minimum(image, full).astype(np.float32)


def _one_band(image, rng, factor):
    image, band = image.copy(), rng.integers(image.shape[1], size=len(image))
    image[np.arange(len(image)), band] *= factor
    return image


def _shifted(image, rng, pixel_scale):
    """Put the bands other than r on the wrong pixels."""
    image, pixels = image.copy(), round(2.0 / pixel_scale)
    for one in image:
        for band in (0, 1, 3, 4):
            steps = rng.choice([-pixels, pixels]), rng.integers(-pixels, pixels + 1)
            one[band] = np.roll(one[band], steps, axis=(0, 1))
    return image


def _streak(image, rng):
    """Draw a satellite trail through the core, in one band as drift scans see it."""
    image = image.copy()
    y, x = np.indices(image.shape[-2:]) - image.shape[-1] // 2
    for one in image:
        angle, band = rng.uniform(0, np.pi), rng.integers(1, 4)
        across = x * np.sin(angle) - y * np.cos(angle) + rng.uniform(-2, 2)
        one[band] += one[band].max() * np.exp(-0.5 * (across / 1.5) ** 2)
    return image


def _cosmic_rays(image, rng):
    image, middle = image.copy(), image.shape[-1] // 2
    for one in image:
        band = rng.integers(one.shape[0])
        y, x = middle + rng.integers(-3, 4, (2, 12))
        one[band, y, x] += 3 * one[band].max()
    return image


def ood_card(
    spectrograph: PhotoSpectrograph,
    ordinary: np.ndarray,
    *,
    n: int = 100,
    seed: int = 0,
    folder: str | PathLike | None = None,
    name: str = "ood",
    title: str = "Images unlike the training",
) -> Section:
    """Return parts of strange and of ordinary images that are flagged.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    ordinary : ndarray (m, 5, size, size)
        Test images of ordinary galaxies, nanomaggies, bands ugriz.
    n : int
        Images of each kind.
    seed : int
    folder : path-like, optional
        Keeps the simulated images.
    name, title : str
        Of the table's files, and of the table.

    Returns
    -------
    Section
    """
    from photospec.simulation import Survey

    config = spectrograph.config
    survey = Survey.sdss_main().replace(size=config.image_size)

    def make():
        return dict(unusual_images(survey, ordinary, n=n, seed=seed))

    made = ResultStore(folder).get(f"ood-{key_of(ordinary[:64], n, seed)}", make)
    rows = []
    for kind, images in ({"ordinary galaxies (false alarms)": ordinary} | made).items():
        images = [image_of(image, survey.bands, survey.pixel_scale) for image in images]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PhotospecWarning)  # they are bad on purpose
            values = np.asarray(spectrograph.ood_score(images), float)
        low, middle, high = np.percentile(values, [16, 50, 84])
        rows.append(
            {
                "images": kind,
                "flagged": bootstrap(np.mean, values > 1),
                "ood_score": Value(middle, 0.5 * (high - low)),
                "number": len(values),
            }
        )
    note = (
        "Flagged: OOD score above one, where 1.5 % of the training images lie. OOD score: "
        "median and half the width of the middle 68 %."
    )
    return Section(name, title, rows, note)
