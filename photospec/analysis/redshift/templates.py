"""Rest-frame templates of the redshift search, on a logarithmic wavelength grid.

A small linear basis, as in SDSS ``spec1d`` and DESI ``redrock``: principal
spectra of composite stellar populations (BC03-MILES) seen through dust, and
one template per group of emission lines whose ratios nature fixes or bounds.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from photospec.dust import attenuate, calzetti00
from photospec.lines import LINES
from photospec.stellar_grids import nebular_grid, stellar_grid
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["BROADENING", "RedshiftTemplates", "redshift_templates", "with_line_width"]

LOG_STEP = 1e-4 * np.log(10)  # natural-log pixel: 69 km/s, the native SDSS step
TEMPLATE_RANGE = (1700.0, 11000.0)  # rest-frame Angstrom
BROADENING = 165.0  # km/s: R ~ 2000 and a typical galaxy together

# Lines of one group keep the ratios of the nebular grid: case B and the transition
# probabilities of doublets fix them. Two Balmer templates, one of them behind E(B-V) = 1,
# span every reddening between with amplitudes >= 0, and two of [O II] every density: one held at
# the mean ratio shifts the redshift of a galaxy of dense gas by 75 km/s.
_BALMER = ("halpha", "hbeta", "hgamma", "hdelta")
LINE_GROUPS = {
    "balmer": _BALMER,
    "balmer_reddened": _BALMER,
    "oii_thin": ("oii_3726", "oii_3729"),
    "oii_dense": ("oii_3726", "oii_3729"),
    "oiii": ("oiii_5007", "oiii_4959"),
    "nii": ("nii_6584", "nii_6548"),
    "sii": ("sii_6716", "sii_6731"),
}
# 3729 over 3726, from below to above all critical densities (Osterbrock & Ferland 2006, AGN2, fig.
# 5.8).
OII_RATIO = {"oii_thin": 1.5, "oii_dense": 0.35}
#: Principal spectra of the stellar populations that are kept.
N_CONTINUUM = 10
NEBULA = {"log_u": -3.0, "metallicity": 0.02, "age": 3e6}  # of the grid; ratios hardly depend on it


@dataclass(frozen=True)
class RedshiftTemplates:
    """Template matrix of the redshift search.

    Attributes
    ----------
    log_wavelength : ndarray (n_wave,)
        Natural logarithm of the vacuum rest-frame wavelength in Angstrom, even step.
    flux : ndarray (n_templates, n_wave)
        Continuum templates (unit root mean square), then line templates (unit peak).
    n_continuum : int
        The first `n_continuum` templates may take either sign; the line templates
        after them may not be negative.
    """

    log_wavelength: np.ndarray
    flux: np.ndarray
    n_continuum: int

    @property
    def step(self):
        """Natural-log pixel width."""
        return self.log_wavelength[1] - self.log_wavelength[0]


def _composite_populations(flux, age):
    """Return stellar populations (n, n_wave): single bursts, and constant star formation until now.

    `flux` is (n_metallicity, n_age, n_wave) per solar mass formed.
    """
    width = np.gradient(age)
    bursts = flux[:, np.searchsorted(age, [3e6, 1e7, 3e7, 1e8, 3e8, 9e8, 2.5e9, 6e9, 1.2e10])]
    constant = []
    for start in (1e8, 1e9, 1e10):
        weight = width * (age <= start)
        constant.append(np.einsum("a,zaw->zw", weight / weight.sum(), flux))
    return np.concatenate([bursts.reshape(-1, flux.shape[-1]), *constant])


def _galaxy_library(log_wavelength):
    """Return positive model galaxies (n, n_wave): young plus old mixtures behind dust."""
    wavelength = np.exp(log_wavelength)
    grid = stellar_grid((wavelength[0], wavelength[-1]))
    youngest = np.searchsorted(grid.age, 1e6)
    ages = np.unique(np.append(np.arange(youngest, grid.age.size, 4), grid.age.size - 1))
    metals = np.flatnonzero(grid.metallicity > 0.001)
    flux = grid.flux[np.ix_(metals, ages)].astype(float)
    populations = _composite_populations(flux, grid.age[ages])
    populations = np.array(
        [np.interp(wavelength, grid.wavelength, spectrum) for spectrum in populations]
    )
    populations /= _level(populations, log_wavelength)
    reddening = calzetti00(np.clip(wavelength, 1300, 21000))
    dusty = [attenuate(populations, reddening, ebv) for ebv in (0.0, 0.2, 0.5)]
    library = np.concatenate(dusty)
    return library / _level(library, log_wavelength)


def _level(flux, log_wavelength):
    """Return the mean flux (n, 1) over the optical, 3800-8500 Angstrom."""
    optical = (log_wavelength > np.log(3800)) & (log_wavelength < np.log(8500))
    return flux[:, optical].mean(axis=1, keepdims=True)


def broaden(flux, step, velocity):
    """Convolve (..., n_wave) on a natural-log grid of `step` with a Gaussian of `velocity` km/s."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(flux, velocity / SPEED_OF_LIGHT / step, axis=-1, mode="nearest")


def line_strengths():
    """Return the relative strength of the lines of each group: ``{group: {line: strength}}``,
    maximum one.
    """
    grid = nebular_grid((6000.0, 6010.0))  # only the lines are wanted, not the continuum
    at = tuple(np.argmin(np.abs(getattr(grid, name) - value)) for name, value in NEBULA.items())
    luminosity = dict(zip(grid.line_names, grid.line_luminosity[at].astype(float), strict=True))
    strengths = {}
    for group, names in LINE_GROUPS.items():
        ebv = 1.0 if group.endswith("_reddened") else 0.0
        wavelength = np.array([LINES[name].wavelength for name in names])
        values = np.array([luminosity[name] for name in names])
        if group in OII_RATIO:
            values = np.array([1.0, OII_RATIO[group]])
        values = values * 10 ** (-0.4 * ebv * calzetti00(wavelength))
        strengths[group] = dict(zip(names, values / values.max(), strict=True))
    return strengths


def _line_templates(log_wavelength, width=BROADENING):
    """Return Gaussian lines (n_groups, n_wave), strongest line of each group at peak one."""
    sigma = width / SPEED_OF_LIGHT
    templates = []
    for group in line_strengths().values():
        template = np.zeros_like(log_wavelength)
        for name, strength in group.items():
            offset = (log_wavelength - np.log(LINES[name].wavelength)) / sigma
            template += strength * np.exp(-0.5 * offset**2)
        templates.append(template)
    return np.array(templates)


@lru_cache(maxsize=1)
def redshift_templates():
    """Return the templates of the redshift search.

    Returns
    -------
    RedshiftTemplates

    Notes
    -----
    Bruzual & Charlot 2003 populations with MILES spectra, Calzetti et al. 2000 dust;
    principal spectra through singular-value decomposition without removing the mean.
    """
    start, stop = np.log(TEMPLATE_RANGE)
    log_wavelength = np.arange(start, stop, LOG_STEP)
    library = broaden(_galaxy_library(log_wavelength), LOG_STEP, BROADENING)
    # Far ultraviolet light of young stars would take all components: weigh the optical.
    weight = np.clip(np.exp(log_wavelength) / 3800, None, 1) ** 4
    *_, components = np.linalg.svd(library * weight, full_matrices=False)
    continuum = components[:N_CONTINUUM] / weight
    continuum /= np.sqrt(np.mean(continuum**2, axis=1, keepdims=True))
    return RedshiftTemplates(
        log_wavelength, np.concatenate([continuum, _line_templates(log_wavelength)]), N_CONTINUUM
    )


@lru_cache(maxsize=8)
def with_line_width(width):
    """Return the templates whose lines have another width.

    Parameters
    ----------
    width : float
        Standard deviation, km/s, the instrument's included.

    Returns
    -------
    RedshiftTemplates
    """
    templates = redshift_templates()
    lines = _line_templates(templates.log_wavelength, width)
    flux = np.concatenate([templates.flux[: templates.n_continuum], lines])
    return replace(templates, flux=flux)
