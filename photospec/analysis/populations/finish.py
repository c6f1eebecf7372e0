"""From the weights of a fit to named numbers with errors."""

import numpy as np

from photospec.analysis.populations.errors import full_error, population_numbers
from photospec.analysis.populations.kinematics import fit_kinematics, losvd_convolve
from photospec.analysis.populations.result import MEASURED, PopulationFit
from photospec.analysis.populations.weights import Weights, gas_columns
from photospec.dust import calzetti00
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["blank_fit", "finish", "weights_of_ppxf"]

GAS_DELTA_CHI2 = 25.0  # emission must gain that much for its kinematics to count
LOW_SIGNAL = 5.0  # median signal-to-noise per pixel below which a fit is flagged


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
        averaged=False,
    )
    return kinematics, weights


def finish(data, kinematics, weights, draw):
    """PopulationFit from the steps before.

    Parameters
    ----------
    data : FitData
    kinematics : Kinematics
    weights : Weights
    draw : callable
        Returns light weights (n_draws, n_ages, n_metallicities) of fits with fresh noise.

    Returns
    -------
    PopulationFit
    """
    if not weights.light.sum() > 0:
        return blank_fit(data.spectrum, data.library, "no template fits: all weights are zero")
    library, spectrum = data.library, data.spectrum
    draws = draw()
    # A regularised solution is the smooth one already and stands as it is.
    light = draws if weights.averaged else weights.light[None] / weights.light.sum()
    numbers = population_numbers(library, light, draws)
    numbers["ebv"] = weights.ebv
    numbers["ebv_error"] = full_error("ebv", weights.ebv_error, weights.ebv)
    stars = zip(kinematics.stars, kinematics.stars_error, strict=True)
    names = ("velocity", "velocity_dispersion", "h3", "h4")
    for name, (value, error) in zip(names, stars, strict=True):
        numbers[name], numbers[f"{name}_error"] = value, error
    numbers["velocity_dispersion_error"] = full_error(
        "velocity_dispersion", kinematics.stars_error[1], kinematics.stars[1]
    )
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
    if np.sqrt(max(dispersion**2 - floor**2, 0)) < 0.1 * spectrum.step * SPEED_OF_LIGHT:
        flags.append(f"velocity dispersion unresolved, below about {max(floor, 30):.0f} km/s")
    return _assemble(data, weights, light, numbers, gas, flags, float(ratio))


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


def _assemble(data, weights, light, numbers, gas, flags, ratio):
    spectrum, library, window = data.spectrum, data.library, data.window
    fitted = np.zeros(spectrum.wavelength.size, bool)
    fitted[window] = data.good
    continuum = _spread(spectrum, window, weights.continuum, np.nan)
    sigma = spectrum.sigma if spectrum.has_sigma else np.full(
        spectrum.sigma.size, np.median(data.sigma[data.good]))  # fmt: skip
    beta = numbers["velocity"] / SPEED_OF_LIGHT
    redshift = (1 + spectrum.redshift) * np.exp(beta) - 1
    return PopulationFit(
        redshift=redshift,
        redshift_error=(1 + redshift) * numbers["velocity_error"] / SPEED_OF_LIGHT,
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
        light_weights=light.mean(0),
        mass_weights=np.mean([library.mass_weights(one) for one in light], axis=0),
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
