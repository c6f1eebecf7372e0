"""What a stellar-population fit returns, and how it comes from the weights of the fit."""

from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.table import QTable

from photospec.analysis.populations.errors import full_error, population_numbers
from photospec.analysis.populations.kinematics import fit_kinematics, losvd_convolve
from photospec.analysis.populations.log_spectrum import OwnPixels
from photospec.analysis.populations.weights import Weights, gas_columns
from photospec.dust import calzetti00
from photospec.spectrum import rebin
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["MEASURED", "PopulationFit", "blank_fit", "finish", "weights_of_ppxf"]

GAS_DELTA_CHI2 = 25.0  # emission must gain that much for its kinematics to count
COARSE_PIXEL = 250.0  # km/s, twice what a typical galaxy's lines have for a standard deviation
LOW_SIGNAL = 5.0  # median signal-to-noise per pixel below which a fit is flagged

# Numbers that a fit measures, with their units; each has its <name>_error.
MEASURED = {
    "age_light_weighted": u.Gyr,
    "age_mass_weighted": u.Gyr,
    "metallicity_light_weighted": u.dex,
    "metallicity_mass_weighted": u.dex,
    "ebv": u.mag,
    "mass_to_light": u.dimensionless_unscaled,
    "velocity": u.km / u.s,
    "velocity_dispersion": u.km / u.s,
    "h3": u.dimensionless_unscaled,
    "h4": u.dimensionless_unscaled,
    "gas_velocity": u.km / u.s,
    "gas_velocity_dispersion": u.km / u.s,
}


@dataclass(frozen=True, eq=False)
class PopulationFit:
    """Stellar populations, kinematics and gas of one spectrum.

    Numbers are floats, NaN where they could not be measured, and each has its
    ``<name>_error`` (one sigma).

    Attributes
    ----------
    redshift, redshift_error : float
        Of the stars: the redshift given, corrected by `velocity`.
    age_light_weighted, age_mass_weighted : float
        10 to the mean log age, Gyr; light is that of the V band.
    metallicity_light_weighted, metallicity_mass_weighted : float
        Mean [M/H], dex.
    ebv : float
        E(B-V) of the stars, mag (Calzetti et al. 2000).
    mass_to_light : float
        Stars and remnants over unattenuated SDSS r light, solar units.
    velocity, velocity_dispersion, h3, h4 : float
        Stars, km/s relative to the redshift given, V = c ln(1 + z).
    gas_velocity, gas_velocity_dispersion : float
        Emission lines, km/s; of the Balmer lines where two components were fitted.
    gas : dict
        ``{"balmer" | "forbidden" | "all": (velocity, dispersion, errors ...)}``.
    chi2 : float
        Reduced, of the population fit.
    signal_to_noise : float
        Median per pixel of the fitted range.
    flags : tuple of str
        What was wrong or special.
    wavelength : ndarray, shape (n_pixels,)
        Observed frame, vacuum, Angstrom, logarithmic.
    flux, sigma : ndarray, shape (n_pixels,)
        The spectrum as fitted (Galactic extinction removed), in the unit of the input arrays.
    mask : ndarray of bool, shape (n_pixels,)
        True where a pixel was bad.
    fitted : ndarray of bool, shape (n_pixels,)
        True where a pixel was fitted (good, in range, not clipped).
    best_fit, continuum, gas_fit : ndarray, shape (n_pixels,)
        Model, its stars alone, and its lines alone; the first two NaN where templates end.
    lsf_sigma : ndarray, shape (n_pixels,) or None
        Observed Angstrom.
    age, metallicity : ndarray
        Axes of the weights, Gyr and dex.
    light_weights, mass_weights : ndarray, shape (n_ages, n_metallicities)
        Fractions of V-band light and of mass formed: the star-formation history.
    templates : str
        Name of the template set.
    own_pixels : OwnPixels or None
        The spectrum as it came, where its pixels are too wide to sample lines; see
        `on_own_pixels`.
    """

    redshift: float
    redshift_error: float
    age_light_weighted: float
    age_light_weighted_error: float
    age_mass_weighted: float
    age_mass_weighted_error: float
    metallicity_light_weighted: float
    metallicity_light_weighted_error: float
    metallicity_mass_weighted: float
    metallicity_mass_weighted_error: float
    ebv: float
    ebv_error: float
    mass_to_light: float
    mass_to_light_error: float
    velocity: float
    velocity_error: float
    velocity_dispersion: float
    velocity_dispersion_error: float
    h3: float
    h3_error: float
    h4: float
    h4_error: float
    gas_velocity: float
    gas_velocity_error: float
    gas_velocity_dispersion: float
    gas_velocity_dispersion_error: float
    gas: dict
    chi2: float
    signal_to_noise: float
    flags: tuple
    wavelength: np.ndarray = field(repr=False)
    flux: np.ndarray = field(repr=False)
    sigma: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    fitted: np.ndarray = field(repr=False)
    best_fit: np.ndarray = field(repr=False)
    continuum: np.ndarray = field(repr=False)
    gas_fit: np.ndarray = field(repr=False)
    lsf_sigma: np.ndarray | None = field(repr=False)
    age: np.ndarray = field(repr=False)
    metallicity: np.ndarray = field(repr=False)
    light_weights: np.ndarray = field(repr=False)
    mass_weights: np.ndarray = field(repr=False)
    templates: str = ""
    own_pixels: OwnPixels | None = field(default=None, repr=False)

    def __repr__(self):
        def both(name):
            return f"{getattr(self, name):.4g} +/- {getattr(self, name + '_error'):.2g}"

        return (
            f"PopulationFit(age_light_weighted={both('age_light_weighted')} Gyr,"
            f" metallicity_light_weighted={both('metallicity_light_weighted')},"
            f" ebv={both('ebv')}, velocity_dispersion={both('velocity_dispersion')} km/s,"
            f" chi2={self.chi2:.3f}, flags={self.flags})"
        )

    def on_own_pixels(self) -> "PopulationFit":
        """Return the fit on the pixels that the spectrum came on, if these are wide; else itself.

        Narrow lines that have been shared out from wide pixels to others are no Gaussians. The
        stars are taken back to the pixels: interpolated, and once corrected by what sharing
        those out would lose. Models of the whole spectrum stay on logarithmic pixels.
        """
        own, known = self.own_pixels, np.isfinite(self.continuum)
        if own is None or not known.any():
            return self
        wavelength, continuum = self.wavelength[known], self.continuum[known]
        stars = np.interp(own.wavelength, wavelength, continuum)
        lost = np.nan_to_num(continuum - rebin(stars, own.wavelength, wavelength))
        stars += np.interp(own.wavelength, wavelength, lost)
        inside = (own.wavelength >= wavelength[0]) & (own.wavelength <= wavelength[-1])
        stars[~inside] = np.nan
        sigma = own.sigma
        if sigma is None:
            sigma = np.where(own.mask, np.inf, np.median(self.sigma[~self.mask]))
        return replace(
            self, wavelength=own.wavelength, flux=np.where(own.mask, np.nan, own.flux),
            sigma=sigma, mask=own.mask, continuum=stars, lsf_sigma=own.lsf_sigma,
            own_pixels=None,
        )  # fmt: skip

    def to_table(self) -> QTable:
        """Return a one-row QTable of the measured numbers, their errors, chi2 and flags."""
        table = QTable()
        table["redshift"], table["redshift_error"] = [self.redshift], [self.redshift_error]
        for name, unit in MEASURED.items():
            table[name] = [getattr(self, name)] * unit
            table[f"{name}_error"] = [getattr(self, f"{name}_error")] * unit
        table["chi2"] = [self.chi2]
        table["flags"] = ["; ".join(self.flags)]
        return table


def weights_of_ppxf(data, settings):
    """Return kinematics and weights from one pPXF call with all templates.

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
    """Make a PopulationFit from the results of the steps before.

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
    # How far wide pixels broaden a spectrum is known no better than that they do.
    pixels = 0.5 * spectrum.pixel_box**2 / max(kinematics.stars[1], spectrum.pixel_box, 1.0)
    numbers["velocity_dispersion_error"] = np.hypot(
        full_error("velocity_dispersion", kinematics.stars_error[1], kinematics.stars[1]), pixels
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
    if spectrum.pixel_box * np.sqrt(12) > COARSE_PIXEL:
        flags.append("pixels are too coarse for a velocity dispersion to be more than a limit")
    dispersion, floor = kinematics.stars[1], data.matched.floor
    if np.sqrt(max(dispersion**2 - floor**2, 0)) < 0.1 * spectrum.step * SPEED_OF_LIGHT:
        flags.append(f"velocity dispersion unresolved, below about {max(floor, 30):.0f} km/s")
        # A limit: what lies below is as likely.
        error = max(numbers["velocity_dispersion_error"], dispersion)
        numbers["velocity_dispersion_error"] = error
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
        mass_weights=library.mass_weights(light).mean(0),
        templates=library.name,
        own_pixels=spectrum.own_pixels,
    )


def blank_fit(spectrum, library, reason):
    """Return the PopulationFit of a spectrum that could not be fitted."""
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
