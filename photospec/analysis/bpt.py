"""Emission-line diagnostics: BPT in [N II], [S II] and [O I], and WHAN.

The curves give log [O III]5007/Hbeta as a function of a log ratio to Halpha, or the
reverse where stated; each is NaN beyond its asymptote. Baldwin, Phillips & Terlevich
1981, PASP 93, 5; the papers of the curves stand at the functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from photospec.errors import InputError

if TYPE_CHECKING:
    from photospec.analysis.emission.measure import LineFluxes

__all__ = [
    "BPTClass",
    "BPTResult",
    "WHANClass",
    "agn_height",
    "cidfernandes11",
    "classify_bpt",
    "classify_ratios",
    "classify_whan",
    "kauffmann03",
    "kewley01",
    "kewley06",
    "schawinski07",
]

# Ratio to Halpha on the abscissa of each diagram.
ABSCISSA = {"nii": ("nii_6584",), "sii": ("sii_6716", "sii_6731"), "oi": ("oi_6300",)}


class BPTClass(Enum):
    """Class of a galaxy in a BPT diagram."""

    #: Below the lower curve: gas ionised by young stars.
    STAR_FORMING = "star_forming"
    #: Between both curves; in the [N II] diagram only.
    COMPOSITE = "composite"
    #: Beyond the upper curve, of high ionisation.
    SEYFERT = "seyfert"
    #: Beyond the upper curve, of low ionisation.
    LINER = "liner"
    #: A line is not detected, or a ratio not known.
    UNCLASSIFIED = "unclassified"

    def __str__(self):
        return self.value


class WHANClass(Enum):
    """Class of a galaxy in the WHAN diagram, by the limits of `cidfernandes11`."""

    #: Gas ionised by young stars.
    STAR_FORMING = "star_forming"
    #: Active nucleus with strong lines: Seyferts.
    STRONG_AGN = "strong_agn"
    #: Active nucleus with weak lines.
    WEAK_AGN = "weak_agn"
    #: Weak lines that old stars can light by themselves.
    RETIRED = "retired"
    #: Hardly any lines.
    PASSIVE = "passive"
    #: A number that decides is not known.
    UNCLASSIFIED = "unclassified"

    def __str__(self):
        return self.value


def _hyperbola(x, numerator, asymptote, level):
    x = np.asarray(x, dtype=float)
    below = x < asymptote
    distance = np.where(below, x - asymptote, -1.0)
    return np.where(below, numerator / distance + level, np.nan)


def kauffmann03(log_nii_ha: ArrayLike) -> np.ndarray:
    """Return the upper edge of pure star formation (Kauffmann et al. 2003, MNRAS 346, 1055, eq. 1).

    Parameters
    ----------
    log_nii_ha : array_like
        log [N II]6584/Halpha.

    Returns
    -------
    ndarray
        log [O III]5007/Hbeta; NaN from 0.05 on.
    """
    return _hyperbola(log_nii_ha, 0.61, 0.05, 1.30)


def agn_height(log_nii_ha, log_oiii_hb):
    """Return how far above the SDSS pipeline's curve of its subclass AGN galaxies lie, dex.

    log [O III]/Hbeta - (0.7 - 1.2 (log [N II]/Halpha + 0.4)), the pipeline's criterion
    (https://www.sdss.org/dr16/spectro/catalogs/), cut at -2 and 2, so that one faint line does not
    decide the mean over candidates of a galaxy.

    Parameters
    ----------
    log_nii_ha, log_oiii_hb : array_like
        log [N II]6584/Halpha and log [O III]5007/Hbeta.

    Returns
    -------
    ndarray
        NaN where a ratio is not finite.

    Examples
    --------
    >>> from photospec.analysis.bpt import agn_height
    >>> agn_height([-0.4, 0.0], [0.7, 0.72]).round(2)
    array([0. , 0.5])
    """
    height = np.asarray(log_oiii_hb, float) - (0.7 - 1.2 * (np.asarray(log_nii_ha, float) + 0.4))
    return np.where(np.isfinite(height), np.clip(height, -2.0, 2.0), np.nan)


def kewley01(log_ratio: ArrayLike, diagram: str = "nii") -> np.ndarray:
    """Return the curve of maximum starburst (Kewley et al. 2001, ApJ 556, 121, eq. 5 to 7).

    Parameters
    ----------
    log_ratio : array_like
        log [N II]6584, [S II]6716+6731 or [O I]6300 over Halpha.
    diagram : {"nii", "sii", "oi"}

    Returns
    -------
    ndarray
        log [O III]5007/Hbeta; NaN beyond the asymptote (0.47, 0.32, -0.59).
    """
    curves = {"nii": (0.61, 0.47, 1.19), "sii": (0.72, 0.32, 1.30), "oi": (0.73, -0.59, 1.33)}
    return _hyperbola(log_ratio, *curves[_diagram(diagram)])


def kewley06(log_ratio: ArrayLike, diagram: str = "sii") -> np.ndarray:
    """Return the curve with Seyferts above, LINERs below (Kewley et al. 2006, MNRAS 372, 961, eq.
    7, 12).

    Parameters
    ----------
    log_ratio : array_like
        log [S II]6716+6731 or [O I]6300 over Halpha.
    diagram : {"sii", "oi"}

    Returns
    -------
    ndarray
        log [O III]5007/Hbeta.
    """
    lines = {"sii": (1.89, 0.76), "oi": (1.18, 1.30)}
    if diagram not in lines:
        raise InputError(f"diagram: expected 'sii' or 'oi', got {diagram!r}")
    slope, level = lines[diagram]
    return slope * np.asarray(log_ratio, dtype=float) + level


def schawinski07(log_nii_ha: ArrayLike) -> np.ndarray:
    """Return the curve with Seyferts above, LINERs below (Schawinski et al. 2007, MNRAS 382, 1415).

    Parameters
    ----------
    log_nii_ha : array_like
        log [N II]6584/Halpha.

    Returns
    -------
    ndarray
        log [O III]5007/Hbeta.
    """
    return 1.05 * np.asarray(log_nii_ha, dtype=float) + 0.45


def cidfernandes11(log_nii_ha, ew_ha):
    """Return the WHAN classes (Cid Fernandes et al. 2011, MNRAS 413, 1687, section 6).

    Star forming: log [N II]/Ha < -0.4 and W > 3 A; strong AGN: > -0.4, W > 6 A; weak
    AGN: > -0.4, 3 < W < 6 A; retired: W < 3 A; passive: W of Ha below 0.5 A.

    Parameters
    ----------
    log_nii_ha : array_like
        log [N II]6584/Halpha; may be NaN for retired and passive galaxies.
    ew_ha : array_like
        Equivalent width of Halpha, rest-frame Angstrom, emission positive.

    Returns
    -------
    ndarray of WHANClass
        Same shape; UNCLASSIFIED where a number that decides is NaN.
    """
    x, w = np.broadcast_arrays(np.asarray(log_nii_ha, float), np.asarray(ew_ha, float))
    conditions = [w < 0.5, w < 3, x < -0.4, (x >= -0.4) & (w > 6), x >= -0.4]
    names = ["PASSIVE", "RETIRED", "STAR_FORMING", "STRONG_AGN", "WEAK_AGN"]
    conditions = [c & np.isfinite(w) for c in conditions]
    return np.select(conditions, np.array([WHANClass[n] for n in names]), WHANClass.UNCLASSIFIED)


def _diagram(diagram):
    if diagram not in ABSCISSA:
        raise InputError(f"diagram: expected one of {', '.join(ABSCISSA)}, got {diagram!r}")
    return diagram


def classify_ratios(
    log_ratio: ArrayLike, log_oiii_hb: ArrayLike, diagram: str = "nii"
) -> np.ndarray:
    """Classify points in one diagram of Baldwin, Phillips & Terlevich.

    [N II]: star forming below Kauffmann 2003, composite up to Kewley 2001, beyond it
    Seyfert or LINER by Schawinski 2007. [S II] and [O I]: Kewley 2001 and 2006, without
    a composite class.

    Parameters
    ----------
    log_ratio, log_oiii_hb : array_like
        Abscissa of the diagram, and log [O III]5007/Hbeta.
    diagram : {"nii", "sii", "oi"}

    Returns
    -------
    ndarray of BPTClass
        UNCLASSIFIED where a ratio is NaN.
    """
    x, y = np.broadcast_arrays(np.asarray(log_ratio, float), np.asarray(log_oiii_hb, float))
    # Comparisons with the NaN beyond an asymptote are false: not below the curve.
    below_kewley = y < kewley01(x, diagram)
    if diagram == "nii":
        forming = y < kauffmann03(x)
        composite = below_kewley
        seyfert = y > schawinski07(x)
    else:
        forming, composite = below_kewley, np.zeros(x.shape, bool)
        seyfert = y > kewley06(x, diagram)
    unknown = np.isnan(x) | np.isnan(y)
    conditions = [unknown, forming, composite, seyfert, np.ones(x.shape, bool)]
    names = ["UNCLASSIFIED", "STAR_FORMING", "COMPOSITE", "SEYFERT", "LINER"]
    return np.select(conditions, np.array([BPTClass[n] for n in names]))


@dataclass(frozen=True)
class BPTResult:
    """Class of one galaxy, with probabilities.

    Attributes
    ----------
    bpt_class : BPTClass or WHANClass
        Of the measured ratios; UNCLASSIFIED unless every line is detected.
    probability : dict
        Class -> fraction of draws from the line errors that fall there; draws with a
        negative flux are UNCLASSIFIED.
    diagram : str
    x, y : float
        Coordinates in the diagram, NaN where not detected.
    """

    bpt_class: Enum
    probability: dict
    diagram: str
    x: float
    y: float


def _probabilities(classes, kind):
    return {member: float(np.mean(classes == member)) for member in kind}


def classify_bpt(
    lines: LineFluxes | Mapping[str, tuple[float, float]],
    diagram: str = "nii",
    *,
    min_snr: float = 3.0,
    n_draws: int = 1000,
    seed: int = 0,
) -> BPTResult:
    """Classify a galaxy from its line fluxes.

    Parameters
    ----------
    lines : LineFluxes or mapping
        ``lines[name]`` is (flux, error) for halpha, hbeta, oiii_5007 and the lines of
        the abscissa.
    diagram : {"nii", "sii", "oi"}
    min_snr : float
        Every line must be so many sigma strong; else UNCLASSIFIED.
    n_draws, seed : int
        Monte-Carlo draws of the fluxes behind the probabilities.

    Returns
    -------
    BPTResult
    """
    abscissa = ABSCISSA[_diagram(diagram)]
    names = (*abscissa, "halpha", "oiii_5007", "hbeta")
    flux, error = np.array([lines[name] for name in names], dtype=float).T
    n = len(abscissa)
    rng = np.random.default_rng(seed)
    draws = np.vstack([flux, flux + error * rng.standard_normal((n_draws, flux.size))])
    total, halpha, oiii, hbeta = draws[:, :n].sum(1), *draws[:, n:].T
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where((draws > 0).all(1), np.log10(np.abs(total / halpha)), np.nan)
        y = np.where((draws > 0).all(1), np.log10(np.abs(oiii / hbeta)), np.nan)
    classes = classify_ratios(x, y, diagram)
    summed = np.append(flux[n:], flux[:n].sum())
    summed_error = np.append(error[n:], np.sqrt((error[:n] ** 2).sum()))
    detected = bool(np.all(summed > min_snr * summed_error))
    return BPTResult(
        bpt_class=classes[0] if detected else BPTClass.UNCLASSIFIED,
        probability=_probabilities(classes[1:], BPTClass),
        diagram=diagram,
        x=float(x[0]) if detected else np.nan,
        y=float(y[0]) if detected else np.nan,
    )


def classify_whan(
    lines: LineFluxes | Mapping[str, tuple[float, float]],
    ew_ha: float,
    ew_ha_error: float = 0.0,
    *,
    min_snr: float = 3.0,
    n_draws: int = 1000,
    seed: int = 0,
) -> BPTResult:
    """Classify a galaxy in the WHAN diagram.

    Parameters
    ----------
    lines : LineFluxes or mapping
        ``lines[name]`` is (flux, error) for halpha and nii_6584.
    ew_ha, ew_ha_error : float
        Rest-frame Angstrom, emission positive.
    min_snr : float
        Of [N II] and Halpha, for the ratio to count.
    n_draws, seed : int
        As in `classify_bpt`.

    Returns
    -------
    BPTResult
        With a `WHANClass`.
    """
    (nii, nii_error), (ha, ha_error) = lines["nii_6584"], lines["halpha"]
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, n_draws + 1))
    noise[:, 0] = 0.0
    upper, lower = nii + nii_error * noise[0], ha + ha_error * noise[1]
    positive = (upper > 0) & (lower > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(positive, np.log10(np.abs(upper / lower)), np.nan)
    # Halpha and its equivalent width share their error.
    w = ew_ha + ew_ha_error * noise[1]
    detected = nii > min_snr * nii_error and ha > min_snr * ha_error
    classes = cidfernandes11(x, w)
    best = cidfernandes11(x[0] if detected else np.nan, w[0])[()]
    return BPTResult(
        bpt_class=best,
        probability=_probabilities(classes[1:], WHANClass),
        diagram="whan",
        x=float(x[0]) if detected else np.nan,
        y=float(ew_ha),
    )
