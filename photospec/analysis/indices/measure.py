"""Spectral indices: the Lick/IDS set, breaks at 4000 Angstrom, and any other by one line.

Pseudo-continuum, atomic and molecular indices follow Worthey et al. 1994 (ApJS 94, 687)
and Trager et al. 1998 (ApJS 116, 1); errors are propagated exactly to first order from
each sample, which is what Cardiel et al. 1998 (A&AS 127, 597) approximate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked
from numpy.typing import ArrayLike
from specutils import Spectrum

from photospec.analysis.gate import gather, good_pixels, reason_unusable
from photospec.analysis.indices.bands import index_value
from photospec.analysis.indices.corrections import broadening_correction, lick_smoothing
from photospec.analysis.indices.definitions import BREAKS, LICK, Index, index_definitions
from photospec.errors import InputError
from photospec.spectrum.wavelengths import pixel_edges

__all__ = ["IndexFit", "measure_indices"]


@dataclass(frozen=True, repr=False, eq=False)
class IndexFit:
    """Indices of n spectra.

    Attributes
    ----------
    indices : tuple of Index
        Their definitions, in the order of the columns.
    value, error : ndarray (n, n_indices)
        Angstrom (rest frame), magnitudes or a ratio, by `Index.kind`; NaN where not
        measured, `error` also where the spectrum has no uncertainty.
    reason : ndarray (n, n_indices) of str
        Why an index is missing; empty where it is not.
    """

    indices: tuple
    value: np.ndarray
    error: np.ndarray
    reason: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the indices."""
        return tuple(index.name for index in self.indices)

    def __getitem__(self, name):
        """Return values (n,) of one index."""
        return self.value[:, self._column(name)]

    def _column(self, name):
        if name not in self.names:
            raise InputError(f"name: expected one of {', '.join(self.names)}; got {name!r}")
        return self.names.index(name)

    def __repr__(self):
        n_missing = np.count_nonzero(self.reason != "")
        return (
            f"<IndexFit: {len(self.indices)} indices of {len(self.value)} spectra, "
            f"{n_missing} not measured>"
        )

    def to_table(self) -> QTable:
        """Return one row per spectrum: ``<name>``, ``<name>_error`` (masked where NaN), ``flags``.

        Returns
        -------
        astropy.table.QTable
        """
        units = {"angstrom": u.AA, "mag": u.mag, "break": None}
        table = QTable()
        for column, index in enumerate(self.indices):
            for name, values in ((index.name, self.value), (f"{index.name}_error", self.error)):
                values, unit = values[:, column], units[index.kind]
                if unit is None:
                    table[name] = MaskedColumn(values, mask=np.isnan(values))
                else:
                    table[name] = Masked(values * unit, mask=np.isnan(values))
        table["flags"] = [
            "; ".join(f"{name}: {why}" for name, why in zip(self.names, row, strict=True) if why)
            for row in self.reason
        ]
        return table


def measure_indices(
    spectrum: Spectrum | Iterable[Spectrum],
    *,
    redshift: ArrayLike | None = None,
    indices: Sequence[str | Index] = (*LICK, *BREAKS),
    resolution: str = "native",
    velocity_dispersion: ArrayLike | None = None,
) -> IndexFit:
    """Measure spectral indices.

    Parameters
    ----------
    spectrum : Spectrum, SpectrumList, SpectrumCollection or list of Spectrum
        One spectrum or many, flux per wavelength or frequency.
    redshift : float or array_like (n,), optional
        Where it is not given, `photospec.analysis.measure_redshift` finds it.
    indices : tuple of str or Index
        Names from `photospec.analysis.indices.definitions.INDICES`, or definitions of your own.
    resolution : {"native", "lick"}
        As observed, or smoothed to the resolution of the Lick/IDS system (Worthey &
        Ottaviani 1997, table 8), the line-spread function of the spectrum taken off. Breaks
        are measured as observed in any case.
    velocity_dispersion : float or array_like (n,), optional
        km/s; correct each index to zero dispersion (not the breaks).

    Returns
    -------
    IndexFit

    Raises
    ------
    InputError
        If a spectrum, a name or an option cannot be understood.
    """
    rows = gather(spectrum)
    definitions = index_definitions(indices)
    if resolution not in ("native", "lick"):
        raise InputError(f"resolution: expected 'native' or 'lick', got {resolution!r}")
    if redshift is None:
        from photospec.analysis.redshift import measure_redshift

        redshift = measure_redshift(spectrum).redshift
    redshift = _per_spectrum("redshift", redshift, len(rows))
    dispersion = _per_spectrum("velocity_dispersion", velocity_dispersion, len(rows))
    shape = (len(rows), len(definitions))
    value, error = np.full(shape, np.nan), np.full(shape, np.nan)
    reason = np.full(shape, "", dtype=object)
    for i, arrays in enumerate(rows):
        value[i], error[i], reason[i] = indices_of_row(
            arrays, redshift[i], definitions, resolution, dispersion[i]
        )
    return IndexFit(definitions, value, error, reason.astype(str))


def _per_spectrum(name, values, n):
    if values is None:
        return np.full(n, np.nan)
    try:
        values = np.ma.filled(np.ma.asarray(values, float), np.nan)
        return np.broadcast_to(values, (n,))
    except (TypeError, ValueError):
        raise InputError(
            f"{name}: expected one number or {n} numbers, got {values!r}; one per spectrum?"
        ) from None


def indices_of_row(arrays, redshift, definitions, resolution="native", velocity_dispersion=np.nan):
    """Return indices of one spectrum.

    Parameters
    ----------
    arrays : SpectrumArrays
        With one row.
    redshift : float
    definitions : tuple of Index
    resolution : {"native", "lick"}
    velocity_dispersion : float
        km/s; NaN for no correction.

    Returns
    -------
    value, error : ndarray (n_indices,)
    reason : list of str
    """
    nothing = np.full(len(definitions), np.nan)
    why = reason_unusable(arrays)
    if not why and not (np.isfinite(redshift) and redshift > -1):
        why = "no redshift"
    if why:
        return nothing, nothing, [why] * len(definitions)
    good = good_pixels(arrays)[0]
    wavelength, edges = arrays.wavelength, pixel_edges(arrays.wavelength)
    flux = np.interp(wavelength, wavelength[good], arrays.flux[0][good])
    sigma = None
    if arrays.sigma is not None:
        sigma = np.interp(wavelength, wavelength[good], np.asarray(arrays.sigma)[0][good])
    smoothing = None
    if resolution == "lick":
        smoothing = lick_smoothing(arrays, redshift)
    value, error, reason = nothing.copy(), nothing.copy(), []
    for column, index in enumerate(definitions):
        smoothed = smoothing is not None and index.kind != "break"
        values = smoothing @ flux if smoothed else flux
        result, gradient, why = index_value(edges, values, ~good, index, 1 + redshift)
        if not why and sigma is not None:
            gradient = smoothing.T @ gradient if smoothed else gradient
            error[column] = np.sqrt(np.sum((gradient * sigma) ** 2))
        if not why and np.isfinite(velocity_dispersion) and index.kind != "break":
            factor, offset = broadening_correction(
                index, velocity_dispersion, arrays, redshift, resolution
            )
            result, error[column] = result * factor + offset, error[column] * abs(factor)
        value[column] = result
        reason.append(why)
    return value, error, reason
