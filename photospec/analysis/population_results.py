"""From the weights of a fit to named numbers with errors."""

from dataclasses import replace

import numpy as np

from photospec.analysis.kinematics import fit_kinematics, losvd_convolve
from photospec.analysis.population_fit import MEASURED, PopulationFit
from photospec.analysis.population_steps import Weights, gas_columns
from photospec.analysis.templates import LIGHT
from photospec.dust import calzetti00

__all__ = ["blank_fit", "finish", "weights_of_ppxf"]

N_DRAWS = 24  # Monte-Carlo draws behind the errors of the populations
GAS_DELTA_CHI2 = 25.0  # emission must gain that much for its kinematics to count
LOW_SIGNAL = 5.0  # median signal-to-noise per pixel below which a fit is flagged
# Draws of E(B-V): three equal points with the mean and variance of a Gaussian.
THREE_POINTS = np.sqrt(1.5) * np.array([-1.0, 0.0, 1.0])


def weights_of_ppxf(data, settings):
    """Kinematics and weights from one pPXF call with all templates.

    Returns
    -------
    Kinematics, Weights
    """
    all_templates = slice(None)
    kinematics = fit_kinematics(data, all_templates, settings)
    lines = gas_columns(data, kinematics)
    basis = losvd_convolve(data.matched, kinematics.stars)
    ebv = kinematics.ebv
    curve = 10 ** (-0.4 * np.nan_to_num(ebv) * calzetti00(data.wavelength))
    factor = kinematics.polynomial if np.isnan(ebv) else curve
    weights = Weights(
        light=kinematics.weights.reshape(data.library.light.shape),
        ebv=ebv,
        ebv_error=kinematics.ebv_error,
        chi2=kinematics.chi2,
        continuum=kinematics.best_fit - kinematics.gas_fit,
        gas=kinematics.gas_fit,
        basis=basis * factor[:, None],
        lines=lines,
        smoothness=None,
    )
    return kinematics, weights


def _numbers(library, light):
    mass = library.mass_weights(light)
    return {
        "age_light_weighted": np.log10(library.mean_age(light)),
        "age_mass_weighted": np.log10(library.mean_age(mass)),
        "metallicity_light_weighted": library.mean_metallicity(light),
        "metallicity_mass_weighted": library.mean_metallicity(mass),
        "mass_to_light": np.log10(library.mass_to_light(light)),
    }


def _draws(data, weights, n_bootstrap, rng):
    """Numbers of fits to spectra with fresh noise, as arrays (n_draws,)."""
    shape = data.library.light.shape
    scale = np.sqrt(max(weights.chi2, 1.0))
    curve = 10 ** (-0.4 * calzetti00(data.wavelength))
    model = weights.continuum + weights.gas
    known = np.isfinite(weights.ebv_error)
    shifts = weights.ebv_error * THREE_POINTS if known else np.zeros(1)
    shifts = np.unique((weights.ebv + shifts).clip(0) - weights.ebv) if known else shifts
    results, n_draws = [], max(n_bootstrap, 0) or N_DRAWS
    for index, shift in enumerate(shifts):
        basis = weights.basis * (curve**shift)[:, None]
        system = data.system(basis, weights.lines)
        for _ in range(index, n_draws, len(shifts)):
            if n_bootstrap:
                sign = rng.choice([-1.0, 1.0], data.flux.size)
                wild = replace(data, flux=model + (data.flux - model) * sign)
                light, _ = wild.system(basis, weights.lines).solve(smoothness=weights.smoothness)
            else:
                noise = scale * rng.standard_normal(system.data.size)
                light, _ = system.solve(noise, weights.smoothness)
            light = light[: np.prod(shape)].reshape(shape)
            if light.sum() > 0:
                results.append(_numbers(data.library, light))
    return {name: np.array([r[name] for r in results]) for name in results[0]}


def finish(data, kinematics, weights, n_bootstrap, rng):
    """PopulationFit from the steps before."""
    if not weights.light.sum() > 0:
        return blank_fit(data.spectrum, data.library, "no template fits: all weights are zero")
    library, spectrum = data.library, data.spectrum
    best, draws = _numbers(library, weights.light), _draws(data, weights, n_bootstrap, rng)
    numbers = {}
    for name, value in best.items():
        spread = np.std(draws[name], ddof=1)
        if name.startswith("metallicity"):
            numbers[name], numbers[f"{name}_error"] = value, spread
        else:  # logarithms so far
            numbers[name] = 10**value
            numbers[f"{name}_error"] = numbers[name] * np.log(10) * spread
    numbers["ebv"], numbers["ebv_error"] = weights.ebv, weights.ebv_error
    stars = zip(kinematics.stars, kinematics.stars_error, strict=True)
    names = ("velocity", "velocity_dispersion", "h3", "h4")
    for name, (value, error) in zip(names, stars, strict=True):
        numbers[name], numbers[f"{name}_error"] = value, error
    flags, gas = list(data.flags), _gas(data, kinematics, weights)
    for index, name in enumerate(("gas_velocity", "gas_velocity_dispersion")):
        numbers[name], numbers[f"{name}_error"] = (
            next(iter(gas.values()))[index] if gas else (np.nan, np.nan)
        )
    ratio = np.median(data.flux[data.good] / data.sigma[data.good])
    if ratio < LOW_SIGNAL:
        flags.append(f"signal-to-noise {ratio:.1f} per pixel")
    if not spectrum.has_sigma:
        flags.append("no uncertainty: noise taken from the residuals")
    dispersion, floor = kinematics.stars[1], data.matched.floor
    if np.sqrt(max(dispersion**2 - floor**2, 0)) < 0.1 * spectrum.step * LIGHT:
        flags.append(f"velocity dispersion unresolved, below about {max(floor, 30):.0f} km/s")
    return _assemble(data, weights, numbers, gas, flags, float(ratio))


def _gas(data, kinematics, weights):
    if not len(kinematics.gas):
        return {}
    good = data.good
    residual = (data.flux - weights.continuum - weights.gas)[good] / data.sigma[good]
    without = (data.flux - weights.continuum)[good] / data.sigma[good]
    if without @ without - residual @ residual < GAS_DELTA_CHI2 * max(weights.chi2, 1.0):
        return {}
    names = ("all",) if len(kinematics.gas) == 1 else ("balmer", "forbidden")
    pairs = zip(names, kinematics.gas, kinematics.gas_error, strict=True)
    return {name: ((v[0], e[0]), (v[1], e[1])) for name, v, e in pairs}


def _spread(spectrum, window, values, fill):
    out = np.full(spectrum.wavelength.size, fill, dtype=float)
    out[window] = values * spectrum.scale
    return out


def _assemble(data, weights, numbers, gas, flags, ratio):
    spectrum, library, window = data.spectrum, data.library, data.window
    fitted = np.zeros(spectrum.wavelength.size, bool)
    fitted[window] = data.good
    continuum = _spread(spectrum, window, weights.continuum, np.nan)
    sigma = spectrum.sigma if spectrum.has_sigma else np.full(
        spectrum.sigma.size, np.median(data.sigma[data.good]))  # fmt: skip
    beta = numbers["velocity"] / LIGHT
    redshift = (1 + spectrum.redshift) * np.exp(beta) - 1
    return PopulationFit(
        redshift=redshift,
        redshift_error=(1 + redshift) * numbers["velocity_error"] / LIGHT,
        **numbers,
        gas=gas,
        chi2=float(weights.chi2),
        signal_to_noise=ratio,
        flags=tuple(flags),
        wavelength=spectrum.wavelength * (1 + spectrum.redshift),
        flux=np.where(spectrum.mask, np.nan, spectrum.flux * spectrum.scale),
        sigma=sigma * spectrum.scale,
        mask=spectrum.mask,
        fitted=fitted,
        best_fit=continuum + _spread(spectrum, window, weights.gas, np.nan),
        continuum=continuum,
        gas_fit=_spread(spectrum, window, weights.gas, 0.0),
        lsf_sigma=None
        if spectrum.lsf_sigma is None
        else spectrum.lsf_sigma * (1 + spectrum.redshift),
        age=library.age,
        metallicity=library.metallicity,
        light_weights=weights.light / weights.light.sum(),
        mass_weights=library.mass_weights(weights.light),
        templates=library.name,
    )


def blank_fit(spectrum, library, reason):
    """PopulationFit of a spectrum that could not be fitted."""
    numbers = dict.fromkeys(MEASURED, np.nan)
    numbers |= {f"{name}_error": np.nan for name in MEASURED}
    blank = np.full(spectrum.wavelength.size, np.nan)
    zeros = np.zeros(library.light.shape)
    return PopulationFit(
        redshift=np.nan,
        redshift_error=np.nan,
        **numbers,
        gas={},
        chi2=np.nan,
        signal_to_noise=np.nan,
        flags=(reason,),
        wavelength=spectrum.wavelength * (1 + spectrum.redshift),
        flux=np.where(spectrum.mask, np.nan, spectrum.flux * spectrum.scale),
        sigma=spectrum.sigma * spectrum.scale,
        mask=spectrum.mask,
        fitted=np.zeros(blank.size, bool),
        best_fit=blank,
        continuum=blank,
        gas_fit=blank,
        lsf_sigma=None,
        age=library.age,
        metallicity=library.metallicity,
        light_weights=zeros,
        mass_weights=zeros,
        templates=library.name,
    )
