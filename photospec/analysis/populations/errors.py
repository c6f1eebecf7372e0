"""Errors of the population numbers: from redrawn noise, and from the models themselves.

Every draw fits the spectrum again with fresh noise (or with the signs of its own residuals
flipped, the wild bootstrap of Davidson & Flachaire 2008) at a fixed E(B-V), itself drawn
from its error. The mean over the draws is a steadier estimate than the one fit, and a
smoother history (compare Kacharov et al. 2018, MNRAS 480, 1973).
"""

from dataclasses import replace

import numpy as np

from photospec.dust import calzetti00

__all__ = [
    "MODEL_ERROR",
    "N_DRAWS",
    "draw_weights",
    "full_error",
    "population_numbers",
    "shifts_of_ebv",
]

N_DRAWS = 24  # of the noise; the scatter of 24 numbers is known to 15 %, 1 / sqrt(2 * 23)
# Draws of E(B-V): three equal points with the mean and variance of a Gaussian.
THREE_POINTS = np.sqrt(1.5) * np.array([-1.0, 0.0, 1.0])
#: Errors that do not shrink with noise (one dust screen and law, binned ages, one dispersion
#: for all stars), added in quadrature: from benchmarks/analysis_recovery.py, whose simulated
#: galaxies have two components with dust and dispersions of their own. Ages and mass-to-
#: light in dex, dispersion and E(B-V) as fractions. Mass-to-light has no truth there: a guess.
MODEL_ERROR = {
    "age_light_weighted": 0.08,
    "age_mass_weighted": 0.045,
    "metallicity_light_weighted": 0.04,
    "metallicity_mass_weighted": 0.028,
    "mass_to_light": 0.03,
    "ebv": 0.3,
    "velocity_dispersion": 0.022,
}
# Scatter of the result over that of its draws, from the same benchmark: the mean over the
# draws is steadier than each of them, the kinematics' and dust's part is not in them.
DRAW_SCALE = {
    "age_light_weighted": 0.95,
    "age_mass_weighted": 0.7,
    "metallicity_light_weighted": 1.0,
    "metallicity_mass_weighted": 0.85,
    "mass_to_light": 1.0,
    "ebv": 0.75,
    "velocity_dispersion": 1.1,
}
_LOGARITHMIC = ("age_light_weighted", "age_mass_weighted", "mass_to_light")


def draw_weights(data, weights, n_bootstrap, rng):
    """Return light weights of fits to the spectrum with fresh noise.

    Parameters
    ----------
    data : FitData
    weights : Weights
        The best fit.
    n_bootstrap : int
        Number of wild bootstraps; 0 for draws of Gaussian noise.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_draws, n_ages, n_metallicities)
        Each with a sum of one.
    """
    shape = data.library.light.shape
    scale = np.sqrt(max(weights.chi2, 1.0))
    curve = 10 ** (-0.4 * calzetti00(data.wavelength))
    model = weights.continuum + weights.gas
    shifts = shifts_of_ebv(weights)
    draws, n_draws = [], n_bootstrap or N_DRAWS
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
                draws.append(light / light.sum())
    return np.array(draws)


def shifts_of_ebv(weights):
    """Return shifts of E(B-V), some points that stand for its error: ndarray, shape (n,)."""
    if not np.isfinite(weights.ebv_error):
        return np.zeros(1)
    return (weights.ebv + weights.ebv_error * THREE_POINTS).clip(0) - weights.ebv


def population_numbers(library, light, draws):
    """Return ages, metallicities and mass-to-light ratio with errors.

    Parameters
    ----------
    library : TemplateSet
    light : ndarray, shape (n, n_ages, n_metallicities)
        Light weights whose mean is reported: one best fit, or all draws.
    draws : ndarray, shape (n_draws, n_ages, n_metallicities)

    Returns
    -------
    dict
        ``name`` and ``name_error``.
    """
    best = {name: values.mean() for name, values in _means(library, light).items()}
    spread = _means(library, draws, together=False)
    numbers = {}
    for name, value in best.items():
        error = full_error(name, np.std(spread[name], ddof=1))
        if name in _LOGARITHMIC:
            value = 10**value
            error = value * np.log(10) * error
        numbers[name], numbers[f"{name}_error"] = float(value), float(error)
    return numbers


def full_error(name, noise, value=1.0):
    """Return error of a number from that of its noise; the model's part is relative to `value`."""
    return float(np.hypot(DRAW_SCALE[name] * noise, MODEL_ERROR[name] * value))


def _means(library, light, together=True):
    """Return numbers of light weights (n, n_ages, n_metallicities): of their mean, or of each."""
    formed = light / library.light
    mass = formed / formed.sum((1, 2), keepdims=True)
    ratio = (formed * library.live_mass).sum((1, 2)) / (formed * library.luminosity_r).sum((1, 2))
    if together:
        light, mass = light.mean(0, keepdims=True), mass.mean(0, keepdims=True)
    numbers = {"mass_to_light": np.log10(ratio)}
    for name, weights in (("light", light), ("mass", mass)):
        total = weights.sum((1, 2))
        numbers[f"age_{name}_weighted"] = weights.sum(2) @ np.log10(library.age) / total
        numbers[f"metallicity_{name}_weighted"] = weights.sum(1) @ library.metallicity / total
    return numbers
