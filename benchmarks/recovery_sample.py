"""Simulated spectra with known properties, for the recovery tables of the analysis.

Galaxies come from the simulator, at SDSS sampling and resolution; the empirical colour
correction of its templates is divided out again, because the question here is what the
fits make of their own models. The truth of a light-weighted number is weighted with the
light that leaves the galaxy, in 5070-5950 Angstrom.
"""

import numpy as np

from photospec.simulation import PopulationConfig, draw_galaxies, render_spectra
from photospec.simulation.attenuation import attenuation_curve
from photospec.simulation.basis import stellar_basis
from photospec.simulation.correction import template_correction
from photospec.simulation.galaxies import DUST_LAWS

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
    spectra = render_spectra(galaxies, config=config)
    wave = np.asarray(spectra.wavelength, float)
    rest = wave / (1 + galaxies.redshift[:, None])
    flux = (spectra.bulge + spectra.disk).astype(float) / template_correction(rest)
    step = np.log(wave[1] / wave[0])
    frequency = np.fft.rfftfreq(2 * wave.size) * 2 * np.pi
    padded = np.pad(flux, [(0, 0), (0, wave.size)], mode="edge")
    kernel = np.exp(-0.5 * (frequency * LSF / LIGHT / step) ** 2)
    flux = np.fft.irfft(np.fft.rfft(padded, axis=1) * kernel, axis=1)[:, : wave.size]
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


def _truth(galaxies, spectra):
    basis = stellar_basis(corrected=False)
    inside = (basis.wavelength > 5070) & (basis.wavelength < 5950)
    light = basis.luminosity[:, inside].mean(1)
    blue = (basis.wavelength > 4300) & (basis.wavelength < 4500)
    colour = basis.luminosity[:, blue].mean(1)
    curves = [attenuation_curve(law, np.array([4400.0, 5500.0])) for law in DUST_LAWS]
    curve = np.array(curves)[galaxies.dust_law]
    screens = {
        "bulge": (galaxies.bulge_av, 0 * galaxies.bulge_av),
        "disk": (galaxies.disk_av, galaxies.birth_cloud_av),
    }
    v_light, b_light, v_bare, b_bare, mass = 0, 0, 0, 0, 0
    for name, (av, cloud) in screens.items():
        weight = getattr(galaxies, f"{name}_weights")
        screen = av[:, None] + cloud[:, None] * basis.young
        through_b, through_v = (10 ** (-0.4 * screen * curve[:, i : i + 1]) for i in (0, 1))
        v_light, b_light = (
            v_light + weight * light * through_v,
            b_light + weight * colour * through_b,
        )
        v_bare, b_bare, mass = v_bare + weight * light, b_bare + weight * colour, mass + weight
    n_age = basis.age.size
    log_age = np.tile(np.log10(basis.age / 1e9), basis.metallicity.size)
    metal = np.repeat(basis.metallicity, n_age)
    a_b, a_v = (
        -2.5 * np.log10(seen.sum(1) / bare.sum(1))
        for seen, bare in ((b_light, b_bare), (v_light, v_bare))
    )
    truth = {"redshift": galaxies.redshift, "ebv": a_b - a_v}
    for name, weight in (("light", v_light), ("mass", mass)):
        total = weight.sum(1)
        truth[f"age_{name}_weighted"] = 10 ** ((weight @ log_age) / total)
        truth[f"metallicity_{name}_weighted"] = (weight @ metal) / total
    share = [spectra.bulge[:, 2500:4500].sum(1), spectra.disk[:, 2500:4500].sum(1)]
    bulge = share[0] / (share[0] + share[1])
    truth["bulge_light_fraction"] = bulge
    # The simulator cannot make stars colder than its templates are blurred.
    bulge_sigma, disk_sigma = (
        np.maximum(getattr(galaxies, f"{name}_velocity_dispersion"), np.hypot(64.0, 35.0))
        for name in screens
    )
    truth["velocity_dispersion"] = np.sqrt(bulge * bulge_sigma**2 + (1 - bulge) * disk_sigma**2)
    for name in spectra.bulge_line_flux:
        truth[f"{name}_flux"] = spectra.bulge_line_flux[name] + spectra.disk_line_flux[name]
        wave = truth["redshift"] * 0 + _line(name)
        truth[f"{name}_flux"] = truth[f"{name}_flux"] / template_correction(wave)
    return truth


def _line(name):
    from photospec.lines import LINES

    return LINES[name].wavelength
