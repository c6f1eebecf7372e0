"""What a stellar-population fit returns."""

from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import QTable

__all__ = ["MEASURED", "PopulationFit"]

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

    def __repr__(self):
        def both(name):
            return f"{getattr(self, name):.4g} +/- {getattr(self, name + '_error'):.2g}"

        return (
            f"PopulationFit(age_light_weighted={both('age_light_weighted')} Gyr,"
            f" metallicity_light_weighted={both('metallicity_light_weighted')},"
            f" ebv={both('ebv')}, velocity_dispersion={both('velocity_dispersion')} km/s,"
            f" chi2={self.chi2:.3f}, flags={self.flags})"
        )

    def to_table(self):
        """One-row QTable of the measured numbers, their errors, chi2 and flags."""
        table = QTable()
        table["redshift"], table["redshift_error"] = [self.redshift], [self.redshift_error]
        for name, unit in MEASURED.items():
            table[name] = [getattr(self, name)] * unit
            table[f"{name}_error"] = [getattr(self, f"{name}_error")] * unit
        table["chi2"] = [self.chi2]
        table["flags"] = ["; ".join(self.flags)]
        return table
