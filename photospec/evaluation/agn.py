"""AGN or not: the Kauffmann et al. (2003) curve on predicted line ratios."""

import numpy as np

from photospec.analysis.bpt import agn_height, kauffmann03
from photospec.evaluation.value import Value, bootstrap
from photospec.spectrum.wavelengths import SMOOTHING

__all__ = [
    "above_kauffmann",
    "balanced_accuracy",
    "crossed_decision",
    "kauffmann_height",
    "measurable",
    "ratios",
    "sdss_height",
]

BPT_LINES = ("halpha", "hbeta", "nii_6584", "oiii_5007")
#: Where the curve ends in log [N II]/Halpha; all beyond lies above it.
_ASYMPTOTE = 0.05
#: Each of the four lines, for a class on the BPT plane (Kauffmann et al. 2003).
_MIN_SNR = 3.0
#: Standard deviation of a narrow line as an SDSS spectrograph sees it, observed Angstrom.
_LINE_SIGMA = 2.5


def ratios(flux):
    """Return coordinates in the diagram, (..., 2), from line fluxes.

    Parameters
    ----------
    flux : mapping
        ``"<line>_flux"`` -> ndarray of Halpha, Hbeta, [N II] 6584 and [O III] 5007.

    Returns
    -------
    ndarray (..., 2)
        log [N II]/Halpha and log [O III]/Hbeta; NaN where a line is not positive.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log = {name: np.log10(np.asarray(flux[f"{name}_flux"], float)) for name in BPT_LINES}
        x = np.stack([log["nii_6584"] - log["halpha"], log["oiii_5007"] - log["hbeta"]], axis=-1)
    return np.where(np.isfinite(x).all(axis=-1, keepdims=True), x, np.nan)


def kauffmann_height(x):
    """Return how far above the curve points (..., 2) lie, dex; bounded, and smooth across the
    asymptote.

    The least of the distances along the two axes would need a root; the vertical distance to the
    curve, cut at two dex, orders points the same way near the curve, which is where it matters.
    """
    nii, oiii = x[..., 0], x[..., 1]
    height = oiii - kauffmann03(np.minimum(nii, _ASYMPTOTE - 1e-3))
    height = np.where(nii >= _ASYMPTOTE, 2.0, height)
    return np.where(np.isfinite(nii + oiii), np.clip(height, -2.0, 2.0), np.nan)


def sdss_height(x):
    """Return how far above the SDSS pipeline's curve points (..., 2) lie, dex; within -2 and 2.

    `photospec.analysis.bpt.agn_height` of the coordinates of `ratios`. Its mean over the
    candidates of a galaxy, against ``agn_threshold`` of the weights' configuration, tells AGN from
    star-forming galaxies.

    Parameters
    ----------
    x : ndarray (..., 2)
        As of `ratios`.

    Returns
    -------
    ndarray (...)
    """
    return agn_height(x[..., 0], x[..., 1])


def above_kauffmann(flux):
    """Tell whether galaxies lie above the curve, from line fluxes as in `ratios`."""
    return kauffmann_height(ratios(flux)) > 0


def measurable(truth, pairs, index):
    """Tell whether an SDSS spectrum of a galaxy would show all four lines.

    The true flux over the noise that a matched filter meets in the pair's own error spectrum.
    Neighbouring samples are correlated by the smoothing of the training grid, which the noise of
    a line does not profit from.

    Parameters
    ----------
    truth : mapping
        True line fluxes, (n,).
    pairs : PairsFile
    index : ndarray of int (n,)

    Returns
    -------
    ndarray of bool (n,)
    """
    from photospec.lines import LINES

    ivar, z = pairs.ivar(index), np.asarray(pairs.object["redshift"][index], float)
    # Variance per Angstrom before the smoothing, and the filter's equivalent width.
    factor = np.sqrt(2 * np.sqrt(np.pi) * SMOOTHING * 2 * np.sqrt(np.pi) * _LINE_SIGMA)
    seen = np.ones(len(z), bool)
    for name in BPT_LINES:
        at = LINES[name].wavelength * (1 + z)
        near = np.abs(pairs.wavelength - at[:, None]) < 15
        typical = np.array([np.median(row[m]) if m.any() else 0 for row, m in zip(ivar, near)])
        with np.errstate(divide="ignore"):
            noise = factor / np.sqrt(typical)
        seen &= np.asarray(truth[f"{name}_flux"], float) > _MIN_SNR * noise
    return seen


def balanced_accuracy(decision, truth):
    """Return the mean of the parts of AGN and of other galaxies that are told right, a Value.

    Parameters
    ----------
    decision, truth : array_like of bool (n,)
    """
    decision, truth = np.asarray(decision, bool), np.asarray(truth, bool)

    def statistic(d, t):
        if t.all() or not t.any():
            return np.nan
        return 0.5 * (d[t].mean() + (~d[~t]).mean())

    return bootstrap(statistic, decision, truth) if len(truth) else Value(np.nan, np.nan)


def crossed_decision(height, truth):
    """Decide by thresholds that were chosen on other galaxies.

    Galaxies are dealt into two halves; each half is decided with the threshold of best balanced
    accuracy on the other.

    Parameters
    ----------
    height : ndarray (n,)
        The greater, the more of an AGN; NaN counts as none.
    truth : ndarray of bool (n,)

    Returns
    -------
    ndarray of bool (n,)
    """
    height = np.where(np.isfinite(height), height, -np.inf)
    half = np.random.default_rng(0).random(len(truth)) < 0.5  # the same halves each time
    decision = np.zeros(len(truth), bool)
    for learn, apply in ((half, ~half), (~half, half)):
        decision[apply] = height[apply] > _threshold(height[learn], truth[learn])
    return decision


def _threshold(height, truth):
    values = np.unique(height[np.isfinite(height)])
    if not len(values) or truth.all() or not truth.any():
        return 0.0
    between = np.concatenate([[values[0] - 1], 0.5 * (values[1:] + values[:-1])])
    told = [0.5 * ((height[truth] > t).mean() + (height[~truth] <= t).mean()) for t in between]
    return float(between[int(np.argmax(told))])
