"""The one way into the analysis: whatever holds spectra becomes rows of arrays.

Each row is checked once, here, for what no measurement could use; the reason travels
with the row instead of an exception, so that one bad spectrum never stops the others.
"""

from dataclasses import dataclass, replace

import numpy as np

from photospec.errors import InputError
from photospec.spectrum import SpectrumArrays, fill_missing, to_arrays
from photospec.utils.validity import usable

__all__ = ["Rows", "gather", "good_pixels", "notes", "reason_unusable", "take"]

# Fewer pixels are less than an index with its side bands has in an SDSS spectrum.
N_PIXELS_MIN = 50
# Angstrom. No spectrum of a galaxy ends below this: the numbers are decimal logarithms of
# wavelengths (3.6 to 4.0), or microns without a unit.
WAVELENGTH_MIN = 100.0


@dataclass(frozen=True)
class Rows:
    """Spectra in the order given.

    Attributes
    ----------
    blocks : tuple of SpectrumArrays or str
        Each with one or more spectra on one wavelength grid; a string is the reason why a
        spectrum could not be read at all.
    single : bool
        True if the input was one one-dimensional spectrum.
    """

    blocks: tuple
    single: bool

    def __len__(self):
        return sum(1 if isinstance(block, str) else len(block.flux) for block in self.blocks)

    def __iter__(self):
        """Yield one-row SpectrumArrays, or the reason."""
        for block in self.blocks:
            if isinstance(block, str):
                yield block
            else:
                for index in range(len(block.flux)):
                    yield take(block, slice(index, index + 1))


def take(arrays, rows):
    """Return rows (slice or index array) of a SpectrumArrays."""

    def pick(values):
        return values[rows] if isinstance(values, np.ndarray) and values.ndim == 2 else values

    redshift = arrays.redshift
    if redshift is not None and np.ndim(redshift):
        redshift = np.asarray(redshift)[rows]
    return replace(
        arrays,
        flux=arrays.flux[rows],
        sigma=pick(arrays.sigma),
        mask=pick(arrays.mask),
        lsf=pick(arrays.lsf),
        redshift=redshift,
    )


def gather(spectra, *, strict=True):
    """Gather spectra in any container as rows of arrays.

    Parameters
    ----------
    spectra : Spectrum, SpectrumArrays, SpectrumList, SpectrumCollection or iterable of Spectrum
    strict : bool
        Raise on a spectrum that cannot be read; otherwise keep its place with the reason.

    Returns
    -------
    Rows

    Raises
    ------
    InputError
        If `spectra` holds no spectrum, or `strict` and one of them cannot be read.
    """
    if isinstance(spectra, SpectrumArrays):
        return Rows((fill_missing(spectra),), False)
    if hasattr(spectra, "spectral_axis") and not isinstance(spectra, (list, tuple)):
        if np.ndim(spectra.spectral_axis) == 1:
            return Rows((_convert(spectra, strict),), np.ndim(spectra.flux) == 1)
    elif isinstance(spectra, str) or not hasattr(spectra, "__iter__"):
        raise InputError(
            f"spectra: expected a specutils Spectrum or several, got {type(spectra).__name__}; "
            "read a file with photospec.spectrum.read_spectrum first"
        )
    blocks = tuple(_convert(item, strict) for item in spectra)
    if not blocks:
        raise InputError("spectra: expected at least one spectrum, got none; is the list empty?")
    return Rows(blocks, False)


def _convert(spectrum, strict):
    try:
        if isinstance(spectrum, SpectrumArrays):
            return fill_missing(spectrum)
        return to_arrays(spectrum)
    except Exception as error:
        if strict:
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        return f"unreadable: {lines[0]}"


def good_pixels(arrays):
    """Tell which pixels hold information, by the rule of `photospec.utils.validity.usable`.

    Parameters
    ----------
    arrays : SpectrumArrays

    Returns
    -------
    ndarray of bool, shape (n, n_wave)
    """
    # Fill values have been masked on the way in: large numbers are fluxes of a small unit here.
    return usable(np.where(np.isfinite(arrays.flux), 0.0, np.nan), arrays.sigma, arrays.mask)


def notes(arrays):
    """List what a spectrum says of itself that its measurements inherit.

    Parameters
    ----------
    arrays : SpectrumArrays

    Returns
    -------
    tuple of str
        Flags for the table: another frame than the Sun's, fluxes up to a factor.
    """
    found = []
    frame = arrays.meta.get("spectral_frame", "heliocentric")
    # Between barycentric and heliocentric there are 0.013 km/s.
    if frame not in ("heliocentric", "barycentric"):
        found.append(f"wavelengths are in the {frame} frame: so is the redshift")
    if arrays.meta.get("flux_calibration") == "relative":
        found.append("fluxes are relative: line fluxes hold up to a factor")
    return tuple(found)


def reason_unusable(arrays, row=0):
    """Tell why no measurement is possible on a spectrum; an empty string if one is.

    Parameters
    ----------
    arrays : SpectrumArrays
    row : int

    Returns
    -------
    str
    """
    wavelength = np.asarray(arrays.wavelength)
    if not (np.all(np.isfinite(wavelength)) and np.all(wavelength > 0)):
        return "wavelengths are not all finite and positive"
    if np.any(np.diff(wavelength) <= 0):
        return "wavelengths are not strictly increasing"
    if wavelength.size < N_PIXELS_MIN:
        return f"only {wavelength.size} pixels"
    if wavelength[-1] < WAVELENGTH_MIN:
        return (
            f"spectral axis runs from {wavelength[0]:.4g} to {wavelength[-1]:.4g} Angstrom: is it "
            "the logarithm, or in another unit?"
        )
    flux = np.asarray(arrays.flux)[row]
    mask = None if arrays.mask is None else np.asarray(arrays.mask, bool)[row]
    if mask is not None and mask.all():
        return "all pixels are masked"
    if not np.isfinite(flux).any():
        return "no finite flux"
    good = good_pixels(take(arrays, slice(row, row + 1)))[0]
    if good.sum() < N_PIXELS_MIN:
        return "too few pixels with finite flux and positive, finite error"
    flux = flux[good]
    if np.ptp(flux) <= 1e-6 * np.abs(flux).max():
        return "constant flux"
    if np.mean(flux) <= 0:
        return "flux is not positive on average"
    return ""
