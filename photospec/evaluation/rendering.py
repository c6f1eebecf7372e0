"""Images of galaxies whose total fluxes are given, with shapes typical of such galaxies."""

import numpy as np
from scipy.spatial import cKDTree

from photospec.errors import InputError

__all__ = ["render_catalogue"]

_AT_ONCE = 64  # images rendered together: 5 MB
_BANDS = tuple("ugriz")


def render_catalogue(flux, redshift, survey, *, seed=0, n_pool=6000):
    """Draw images with given total fluxes.

    Each galaxy lends its shape (bulge and disk, their shares of the light in every band, spiral
    arms) and the Milky Way's dust from a simulated galaxy near to it in redshift, r and g-r; the
    light of each band is then scaled to the flux given. Neighbours, point spread function and
    noise are those of the survey.

    Parameters
    ----------
    flux : ndarray (n, 5)
        Total u, g, r, i, z, nanomaggies, corrected for Galactic extinction; all positive.
    redshift : ndarray (n,)
    survey : photospec.simulation.Survey
        With the bands ugriz.
    seed : int
    n_pool : int
        Simulated galaxies to choose from.

    Returns
    -------
    ndarray (n, 5, size, size) of float32
        Nanomaggies, dimmed by the Milky Way as the survey's images are.

    Raises
    ------
    InputError
        If a flux is not positive, or the survey has other bands.
    """
    from dataclasses import replace

    from photospec.simulation import draw_galaxies

    flux, redshift = np.asarray(flux, float), np.asarray(redshift, float)
    if tuple(survey.bands) != _BANDS:
        raise InputError(f"survey: expected bands u,g,r,i,z, got {','.join(survey.bands)}")
    if flux.shape != (len(redshift), 5) or not np.all(flux > 0):
        raise InputError(
            f"flux: expected ({len(redshift)}, 5) positive fluxes, got shape {flux.shape} and a "
            f"least one of {flux.min() if flux.size else np.nan:.3g}"
        )
    rng = np.random.default_rng(seed)
    magnitude = 22.5 - 2.5 * np.log10(flux)
    config = replace(
        survey.population,
        redshift_min=max(float(redshift.min()) - 0.01, 0.005),
        redshift_max=float(redshift.max()) + 0.01,
        r_limit=float(magnitude[:, 2].max()) + 0.3,
        r_bright=min(float(magnitude[:, 2].min()) - 0.3, survey.population.r_bright),
    )
    pool = draw_galaxies(config, rng, n_pool)

    def place(z, m):
        return np.stack([z / 0.01, m[:, 2] / 0.3, (m[:, 1] - m[:, 2]) / 0.05], axis=1)

    near = cKDTree(place(pool.redshift, pool.magnitude)).query(place(redshift, magnitude))[1]
    parts = []
    for start in range(0, len(redshift), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        parts.append(_render(pool[near[rows]], magnitude[rows], survey, rng))
    return np.concatenate(parts)


def _render(galaxies, magnitude, survey, rng):
    """Render images of simulated galaxies at other magnitudes (n, 5)."""
    from photospec.photometry.filters import band_weights
    from photospec.simulation import render_spectra
    from photospec.simulation.instrument.images import render_images
    from photospec.simulation.instrument.noise import add_noise, draw_shifts, draw_sky
    from photospec.simulation.instrument.psf import draw_psf
    from photospec.simulation.instrument.scene import draw_scene

    n = len(galaxies)
    spectra = render_spectra(
        galaxies, config=survey.population, galactic_extinction=survey.galactic_extinction
    )
    wavelength = np.asarray(spectra.wavelength, float)
    weights = band_weights(wavelength, tuple(survey.responses))[0].astype(np.float32)
    # The flux wanted over the simulated one; both without the Milky Way's dust.
    factor = 10 ** (0.4 * (galaxies.magnitude - magnitude))
    light = [(part @ weights) * factor for part in (spectra.bulge, spectra.disk)]
    sources, _ = draw_scene(
        survey.scene,
        rng,
        galaxies,
        *light,
        bands=survey.bands,
        half_width=0.5 * survey.size * survey.pixel_scale,
    )
    shifts = draw_shifts(survey.noise, rng, n, survey.bands)
    sky_rms = draw_sky(survey.noise, rng, n)
    clean, _ = render_images(
        sources,
        draw_psf(survey.psf, rng, n),
        shifts,
        size=survey.size,
        pixel_scale=survey.pixel_scale,
        fibre_radius=survey.spectrograph.fibre_radius,
    )
    return add_noise(clean, sky_rms, shifts, survey.noise, rng)
