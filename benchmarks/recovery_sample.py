"""Simulated spectra with known properties, for the recovery tables of the analysis.

Galaxies come from the simulator, at SDSS sampling and resolution; the empirical colour
correction of its templates is divided out again, because the question here is what the
fits make of their own models. The truth of a light-weighted number is weighted with the
light that leaves the galaxy, in 5070-5950 Angstrom.

The simulator takes the resolution of its templates off as one number in km/s, which is
exact at 5000 Angstrom only. Here the stars are blurred by what remains at each wavelength, so
that their dispersion is known to the instrument's 65 km/s everywhere.
"""

from dataclasses import replace

import numpy as np

from photospec.analysis.populations.templates import bc03_templates
from photospec.dust import attenuation_curve
from photospec.simulation import PopulationConfig, draw_galaxies, render_spectra
from photospec.simulation.galaxies.sed import TEMPLATE_DISPERSION
from photospec.simulation.galaxies.stars import stellar_basis
from photospec.simulation.galaxies.table import DUST_LAWS

LSF = 65.0  # km/s, standard deviation
LIGHT = 299792.458
SPAN = (3800.0, 9200.0)


def make_sample(n, snr, seed=0):
    """Draw n spectra of a given median signal-to-noise per pixel in 4500-7000 Angstrom.

    Parameters
    ----------
    n : int
    snr : float
        Infinite for none: noiseless flux with errors as at 1000.
    seed : int
        The galaxies depend on it alone, not on `snr`.

    Returns
    -------
    wavelength : ndarray (n_w,)
        Observed vacuum Angstrom.
    flux, sigma : ndarray (n, n_w)
    lsf_sigma : ndarray (n_w,)
        Angstrom.
    truth : dict of ndarray (n,)
    """
    rng = np.random.default_rng(seed)
    config = PopulationConfig()
    galaxies = draw_galaxies(config, rng, n)
    # Without the empirical colour correction, which the fit's templates do not have.
    spectra = render_spectra(galaxies, config=config, corrected=False)
    wave = np.asarray(spectra.wavelength, float)
    rest = wave / (1 + galaxies.redshift[:, None])
    flux = _observed(galaxies, spectra, config, rest)
    inside = (wave > SPAN[0]) & (wave < SPAN[1])
    wave, flux, rest = wave[inside], flux[:, inside], rest[:, inside]
    # Noise of sky and source together: flat in the middle, growing to the blue and the red.
    shape = 1 + 0.8 * np.exp((3900 - wave) / 200) + 0.5 * (wave > 8000)
    middle = (wave > 4500) & (wave < 7000)
    level = np.median(flux[:, middle] / shape[middle], axis=1)
    sigma = shape * level[:, None] / (snr if np.isfinite(snr) else 1000.0)
    if np.isfinite(snr):
        flux = flux + sigma * np.random.default_rng([seed, 1]).standard_normal(flux.shape)
    return wave, flux, sigma, wave * LSF / LIGHT, _truth(galaxies, spectra)


def _observed(galaxies, spectra, config, rest):
    """Flux (n, n_w) with the line-spread function of 65 km/s in stars and lines alike."""
    dark = {
        f"{part}_line_luminosity": 0 * getattr(galaxies, f"{part}_line_luminosity")
        for part in ("bulge", "disk")
    }
    bare = render_spectra(replace(galaxies, **dark), config=config)
    stars = (bare.bulge + bare.disk).astype(float)
    lines = (spectra.bulge + spectra.disk).astype(float) - stars
    library = bc03_templates()
    own = np.interp(rest, library.wavelength, library.lsf_sigma) / rest * LIGHT
    # What is to be added to reach 65 km/s, and the templates' own put back; km/s squared.
    wanted = (LSF**2 + TEMPLATE_DISPERSION**2 - own**2).clip(0)
    knots = np.linspace(0, wanted.max(), 12)
    step = np.log(spectra.wavelength[1] / spectra.wavelength[0])
    flux = _blur(lines, LSF / LIGHT / step)
    for knot in knots:  # linear between the knots
        share = (1 - np.abs(wanted - knot) / knots[1]).clip(0)
        flux += share * _blur(stars, np.sqrt(knot) / LIGHT / step)
    return flux


def _blur(flux, sigma):
    """Convolve rows with a Gaussian of so many pixels."""
    n_w = flux.shape[1]
    frequency = np.fft.rfftfreq(2 * n_w) * 2 * np.pi
    padded = np.pad(flux, [(0, 0), (0, n_w)], mode="edge")
    kernel = np.exp(-0.5 * (frequency * sigma) ** 2)
    return np.fft.irfft(np.fft.rfft(padded, axis=1) * kernel, axis=1)[:, :n_w]


def _truth(galaxies, spectra):
    basis = stellar_basis(corrected=False)
    inside = (basis.wavelength > 5070) & (basis.wavelength < 5950)
    light = basis.luminosity[:, inside].mean(1)
    curves = [attenuation_curve(law, np.array([4400.0, 5500.0])) for law in DUST_LAWS]
    curve = np.array(curves)[galaxies.dust_law]
    screens = {
        "bulge": (galaxies.bulge_av, 0 * galaxies.bulge_av),
        "disk": (galaxies.disk_av, galaxies.birth_cloud_av),
    }
    v_light, reddening, mass = 0, 0, 0
    for name, (av, cloud) in screens.items():
        weight = getattr(galaxies, f"{name}_weights")
        screen = av[:, None] + cloud[:, None] * basis.young
        seen = weight * light * 10 ** (-0.4 * screen * curve[:, 1:])
        v_light, mass = v_light + seen, mass + weight
        reddening = reddening + (seen * screen).sum(1) * (curve[:, 0] - curve[:, 1])
    n_age = basis.age.size
    log_age = np.tile(np.log10(basis.age / 1e9), basis.metallicity.size)
    metal = np.repeat(basis.metallicity, n_age)
    # Of the stars that are seen; those hidden in birth clouds count little.
    truth = {"redshift": galaxies.redshift, "ebv": reddening / v_light.sum(1)}
    for name, weight in (("light", v_light), ("mass", mass)):
        total = weight.sum(1)
        truth[f"age_{name}_weighted"] = 10 ** ((weight @ log_age) / total)
        truth[f"metallicity_{name}_weighted"] = (weight @ metal) / total
    share = [spectra.bulge[:, 2500:4500].sum(1), spectra.disk[:, 2500:4500].sum(1)]
    bulge = share[0] / (share[0] + share[1])
    truth["bulge_light_fraction"] = bulge
    # The simulator cannot make stars colder than its templates are blurred.
    bulge_sigma, disk_sigma = (
        np.maximum(
            getattr(galaxies, f"{name}_velocity_dispersion"), np.hypot(TEMPLATE_DISPERSION, 35.0)
        )
        for name in screens
    )
    truth["velocity_dispersion"] = np.sqrt(bulge * bulge_sigma**2 + (1 - bulge) * disk_sigma**2)
    for name in spectra.bulge_line_flux:
        truth[f"{name}_flux"] = spectra.bulge_line_flux[name] + spectra.disk_line_flux[name]
    return truth
