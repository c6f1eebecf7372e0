"""Predicted against true spectra, pixel by pixel and line by line."""

import warnings

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr

from photospec.evaluation.value import Value, bootstrap
from photospec.lines import LINES
from photospec.spectrum import WAVELENGTH

__all__ = ["line_errors", "line_pixels", "pixel_errors", "spearman"]

#: Emission lines around which pixels are line pixels.
EMISSION = (
    *("oii_3726", "oii_3729", "hgamma", "hbeta", "oiii_4959", "oiii_5007", "oi_6300"),
    *("nii_6548", "halpha", "nii_6584", "sii_6716", "sii_6731"),
)
#: True equivalent width from which a galaxy counts as having a line, rest Angstrom.
LEAST_EW = 1.0
_HALF_WIDTH = 8.0  # rest Angstrom to either side


def line_pixels(redshift):
    """Return pixels (n, n_wave) within 8 rest Angstrom of an emission line.

    Parameters
    ----------
    redshift : array_like (n,)
    """
    rest = WAVELENGTH / (1 + np.asarray(redshift, float)[:, None])
    near = np.zeros(rest.shape, bool)
    for name in EMISSION:
        near |= np.abs(rest - LINES[name].wavelength) < _HALF_WIDTH
    return near


def pixel_errors(flux, truth, redshift):
    """Return the median abs(predicted / true - 1) per galaxy, of spectra of equal mean flux.

    Absolute flux is the image's affair, so that levels are made equal first.

    Parameters
    ----------
    flux, truth : ndarray (n, n_wave)
    redshift : ndarray (n,)
        True one: where the lines are.

    Returns
    -------
    dict of str to ndarray (n,)
        ``"all"``, ``"continuum"`` and ``"line"`` pixels.
    """
    near = line_pixels(redshift)
    scale = np.nanmean(truth, axis=1, keepdims=True) / np.nanmean(flux, axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(flux * scale / truth - 1)
    masks = {"all": np.ones(near.shape, bool), "continuum": ~near, "line": near}
    found = {}
    for name, mask in masks.items():
        counted = np.where(mask & np.isfinite(error), error, np.nan)
        usable = np.isfinite(counted).any(axis=1)
        found[name] = np.full(len(flux), np.nan)
        found[name][usable] = np.nanmedian(counted[usable], axis=1)
    return found


def line_errors(predicted, true, line, what):
    """Return relative errors of a line's flux or width, where the truth has the line.

    It has it from an equivalent width of `LEAST_EW`.

    Parameters
    ----------
    predicted, true : dict of ndarray (n,)
        As `photospec.evaluation.measured.measure_spectra` gives them.
    line : str
    what : {"flux", "width"}

    Returns
    -------
    ndarray (n_counted,)
        Abs(predicted / true - 1); one where the prediction has no such line.
    """
    name = f"{line}_{what}"
    counted = (true[f"{line}_ew"] > LEAST_EW) & (true[f"{line}_snr"] > 3) & (true[name] > 0)
    ratio = predicted[name][counted] / true[name][counted]
    return np.where(np.isfinite(ratio), np.abs(ratio - 1), 1.0)


def spearman(predicted, true):
    """Return the Spearman correlation with bootstrap error, of what was measured on both.

    Parameters
    ----------
    predicted, true : ndarray (n,)

    Returns
    -------
    Value
    """
    good = np.isfinite(predicted) & np.isfinite(true)
    if good.sum() < 3:
        return Value(np.nan, np.nan)
    with warnings.catch_warnings():
        # Of a few galaxies a resampling may have only one, again and again.
        warnings.simplefilter("ignore", ConstantInputWarning)
        return bootstrap(lambda a, b: spearmanr(a, b)[0], predicted[good], true[good])
