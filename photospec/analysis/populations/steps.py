"""First steps of a population fit: prepare the spectrum, choose templates, clip outliers."""

from dataclasses import dataclass, replace

import numpy as np
from astropy.cosmology import Planck18
from numpy.polynomial import legendre

from photospec.analysis.emission.model import GROUPS, group_profiles
from photospec.analysis.populations.kinematics import losvd_convolve
from photospec.analysis.populations.log_spectrum import LogSpectrum
from photospec.analysis.populations.regularisation import build_system
from photospec.analysis.populations.resolution import MatchedTemplates, match_templates
from photospec.lines import LINES
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = [
    "FitData",
    "choose_templates",
    "clip_outliers",
    "near_lines",
    "polynomials",
    "reason_unfit",
    "seen_groups",
]

LEAST_PIXELS = 200
CLIP = 4.0  # residuals beyond so many robust sigmas are left out
LINE_ZONE = 800.0  # km/s around lines where nothing is clipped
AGE_SLACK = 1.05  # templates may be so much older than the universe


@dataclass(frozen=True, eq=False)
class FitData:
    """One spectrum ready to fit: pixels from the first to the last good one.

    Attributes
    ----------
    spectrum : LogSpectrum
        All of it.
    window : slice
        The pixels of `spectrum` that the arrays below hold.
    wavelength, flux, sigma : ndarray, shape (n_pixels,)
        Rest vacuum Angstrom; flux near unity.
    good : ndarray of bool, shape (n_pixels,)
    lsf_sigma : ndarray, shape (n_pixels,)
        For the lines, rest Angstrom.
    matched : MatchedTemplates
    flags : tuple of str
    """

    spectrum: LogSpectrum
    window: slice
    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    good: np.ndarray
    lsf_sigma: np.ndarray
    matched: MatchedTemplates
    flags: tuple = ()

    @property
    def library(self):
        """The templates."""
        return self.matched.templates

    @property
    def coefficients(self):
        """Coefficients of all templates, shape (n_basis, n_templates)."""
        coefficients = self.library.coefficients
        return coefficients.reshape(len(coefficients), -1)

    @classmethod
    def prepare(cls, spectrum, library, fit_range, limit_age):
        """FitData, or None and the reason why there is none."""
        low, high = library.fit_range
        if fit_range is not None:
            low, high = max(low, fit_range[0]), min(high, fit_range[1])
        good = ~spectrum.mask & (spectrum.wavelength > low) & (spectrum.wavelength < high)
        reason = reason_unfit(spectrum, good, (low, high))
        if reason:
            return None, reason
        first, last = np.flatnonzero(good)[[0, -1]]
        window = slice(int(first), int(last) + 1)
        wavelength = spectrum.wavelength[window]
        flags = []
        lsf = spectrum.lsf_sigma
        if lsf is None:
            flags.append("no line-spread function: dispersions include the instrument's")
            line_lsf = 0.3 * spectrum.step * wavelength
        else:
            lsf = line_lsf = lsf[window]
        if limit_age:
            library = library.until(AGE_SLACK * Planck18.age(max(spectrum.redshift, 0)).value)
        data = cls(
            spectrum=spectrum,
            window=window,
            wavelength=wavelength,
            flux=spectrum.flux[window],
            sigma=np.where(good[window], spectrum.sigma[window], 1e6),
            good=good[window],
            lsf_sigma=line_lsf,
            matched=match_templates(library, wavelength, lsf, good[window]),
            flags=tuple(flags),
        )
        return data, ""

    def system(self, basis, lines, free=None):
        """LinearSystem of the good pixels."""
        good = self.good
        return build_system(
            basis[good], self.coefficients, lines[good], self.flux[good], self.sigma[good],
            None if free is None else free[good],
        )  # fmt: skip


def reason_unfit(spectrum, good, fit_range):
    """Why no population can be fitted to the good pixels of a LogSpectrum; empty if one can."""
    if good.sum() < LEAST_PIXELS:
        where = f"{fit_range[0]:.0f}-{fit_range[1]:.0f} A of the rest frame"
        return f"only {good.sum()} good pixels in {where}, {LEAST_PIXELS} needed"
    level = np.median(spectrum.flux[good])
    if not level > 0:
        return "no positive flux in the fitted range"
    if np.ptp(spectrum.flux[good]) < 1e-6 * level:
        return "constant flux"
    return ""


def polynomials(n_pixels, degree):
    """Legendre polynomials up to a degree, shape (n_pixels, degree + 1)."""
    return legendre.legvander(np.linspace(-1, 1, n_pixels), degree)


def near_lines(wavelength):
    """True where an emission line may be, so that nothing is clipped there."""
    near = np.zeros(wavelength.size, bool)
    for group in GROUPS:
        for name in group.names:
            near |= np.abs(np.log(wavelength / LINES[name].wavelength)) < LINE_ZONE / SPEED_OF_LIGHT
    return near


def clip_outliers(data, model):
    """Data without pixels that no model of a galaxy explains, and with errors if it had none.

    Residuals beyond `CLIP` times their robust spread (1.48 times the median absolute
    deviation, at least the given errors) go, except near emission lines.
    """
    residual = (data.flux - model) / data.sigma
    spread = 1.4826 * np.median(np.abs(residual[data.good]))
    if not data.spectrum.has_sigma:
        # The fit's own residuals are the only measure of the noise.
        spread = max(spread, 1e-5)
        data = replace(data, sigma=data.sigma * spread)
        residual, spread = residual / spread, 1.0
    keep = (np.abs(residual) < CLIP * max(spread, 1.0)) | near_lines(data.wavelength)
    return replace(data, good=data.good & keep)


def choose_templates(data, degree, n_gas=1):
    """Templates that matter for the kinematics, by two linear fits.

    Non-negative fits with additive polynomials at two dispersions; every template
    with weight in either is kept.

    Returns
    -------
    data : FitData
        Without outliers.
    chosen : ndarray of int
        Indices of the templates.
    dispersion : float
        The better of the two, km/s.
    """
    free = polynomials(data.flux.size, max(degree, 0))
    zero, wide = (0.0, 0.0), (120.0, 120.0)
    lines = group_profiles(data.wavelength, data.lsf_sigma, zero, wide)
    lines = lines[:, seen_groups(lines, data)] if n_gas else lines[:, :0]
    chosen, best = set(), (np.inf, None, None)
    for dispersion in (110.0, 220.0):
        basis = losvd_convolve(data.matched, np.array([0.0, dispersion, np.nan, np.nan]))
        system = data.system(basis, lines, free)
        weights, chi2 = system.solve()
        stars = weights[: data.coefficients.shape[1]]
        chosen |= set(np.flatnonzero(stars > 1e-3 * stars.sum()))
        if chi2 < best[0]:
            partial = basis @ (data.coefficients @ stars) + lines @ weights[stars.size :]
            best = chi2, dispersion, partial
    _, dispersion, partial = best
    good = data.good
    left = (data.flux - partial)[good] / data.sigma[good]
    polynomial = np.linalg.lstsq(free[good] / data.sigma[good, None], left, rcond=None)[0]
    data = clip_outliers(data, partial + free @ polynomial)
    return data, np.array(sorted(chosen)), dispersion


def seen_groups(lines, data):
    """Groups with at least a third of their (strongest) line on good pixels."""
    width = data.spectrum.step * data.wavelength
    return (lines * (width * data.good)[:, None]).sum(0) > 0.33
