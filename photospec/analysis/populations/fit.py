"""Stellar populations, kinematics and gas of a galaxy spectrum.

In two steps. pPXF finds velocities and dispersions, with additive polynomials and the
few templates that a first non-negative fit picks out. At those kinematics a linear fit
of all templates, with dust (Calzetti et al. 2000) and emission lines and without
polynomials, gives the weights. ``method="ppxf"`` does all in one call of pPXF with
all templates instead: slower, and what the quick way is tested against.

Means over the weights follow Cappellari (2023, MNRAS 526, 3273, eq. 39).
"""

from os import PathLike

import numpy as np
from specutils import Spectrum

from photospec.analysis.populations.errors import draw_weights
from photospec.analysis.populations.kinematics import PPXFSettings, fit_kinematics
from photospec.analysis.populations.log_spectrum import one_spectrum, to_log_spectrum
from photospec.analysis.populations.result import (
    PopulationFit,
    blank_fit,
    finish,
    weights_of_ppxf,
)
from photospec.analysis.populations.templates import TemplateSet, load_templates
from photospec.analysis.populations.weights import (
    FitData,
    choose_templates,
    population_weights,
)
from photospec.analysis.redshift import measure_redshift
from photospec.errors import InputError
from photospec.spectrum import SpectrumArrays
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["PopulationFit", "fit_populations"]


def fit_populations(
    spectrum: Spectrum | SpectrumArrays,
    redshift: float | None = None,
    *,
    templates: str | PathLike | TemplateSet = "bc03",
    moments: int = 2,
    degree: int = 15,
    mdegree: int = 0,
    regularization: float = 0.0,
    n_gas: int = 1,
    tie_balmer: bool = False,
    limit_doublets: bool = False,
    method: str = "fast",
    fit_range: tuple[float, float] | None = None,
    galactic_ebv: float = 0.0,
    limit_age: bool = True,
    n_bootstrap: int = 0,
    seed: int = 0,
) -> PopulationFit:
    """Fit stellar populations, kinematics and gas to one spectrum.

    Parameters
    ----------
    spectrum : specutils.Spectrum or SpectrumArrays
        One spectrum in the observed frame.
    redshift : float, optional
        Within about 500 km/s of the truth. When None, the spectrum's own hint, or, if
        that is further off, the redshift that is found within 2 per cent of it.
    templates : str, path or TemplateSet
        See `photospec.analysis.populations.templates.load_templates`.
    moments : {2, 4}
        Of the stellar velocity distribution; 4 adds h3 and h4.
    degree : int
        Additive polynomials of the kinematic fit; -1 for none.
    mdegree : int
        Multiplicative polynomials of the population fit, for spectra of doubtful flux
        calibration; E(B-V) then means little.
    regularization : float
        pPXF's ``regul``; 0 for none.
    n_gas : {0, 1, 2}
        Kinematic components of the gas; 1 ties all lines, 2 frees the Balmer lines.
    tie_balmer, limit_doublets : bool
        As in pPXF's ``emission_lines``.
    method : {"fast", "ppxf"}
        Two steps, or one call of pPXF with all templates.
    fit_range : tuple of float, optional
        Rest wavelengths, Angstrom; by default all that the templates resolve.
    galactic_ebv : float
        Foreground E(B-V), on the scale of the SFD map, removed first.
    limit_age : bool
        Leave out templates older than the universe was.
    n_bootstrap : int
        Wild bootstraps (Davidson & Flachaire 2008) behind the errors of the
        populations; 0 draws Gaussian noise instead.
    seed : int
        Of those draws.

    Returns
    -------
    PopulationFit
        NaN with a reason in ``flags`` where nothing could be measured.
    """
    arrays = one_spectrum(spectrum)
    redshift = _checked_redshift(arrays, redshift)
    for name, value, allowed in (
        ("moments", moments, (2, 4)),
        ("method", method, ("fast", "ppxf")),
        ("n_gas", n_gas, (0, 1, 2)),
    ):
        if value not in allowed:
            raise InputError(f"{name}: expected one of {allowed}, got {value!r}")
    library = load_templates(templates)
    spectrum = to_log_spectrum(arrays, redshift, galactic_ebv)
    data, reason = FitData.prepare(spectrum, library, fit_range, limit_age)
    if reason:
        return blank_fit(spectrum, library, reason)
    settings = PPXFSettings(
        moments=moments, degree=degree, mdegree=mdegree if method == "ppxf" else 0,
        regul=regularization if method == "ppxf" else 0.0, n_gas=n_gas,
        tie_balmer=tie_balmer, limit_doublets=limit_doublets,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    try:
        if method == "ppxf":
            kinematics, weights = weights_of_ppxf(data, settings)
        else:
            data, chosen, start = choose_templates(data, degree, n_gas)
            kinematics = fit_kinematics(data, chosen, settings, start)
            weights = population_weights(data, kinematics, mdegree, regularization)
        return finish(
            data, kinematics, weights, lambda: draw_weights(data, weights, n_bootstrap, rng)
        )
    except (AssertionError, np.linalg.LinAlgError, RuntimeError) as error:
        text = " ".join(str(error).split())[:120]
        return blank_fit(spectrum, library, f"fit failed: {type(error).__name__} {text}")


# Half the window around a hint, as a part of 1 + z. A velocity of 24,000 km/s is a redshift of
# 0.0801 (cz) or 0.0835 (relativistic, what specutils makes of it); a photometric one is off as far.
HINT_WINDOW = 0.02
HINT_REACH = 500 / SPEED_OF_LIGHT  # the fit finds velocities within that of its redshift


def _near(arrays, hint):
    """Return hint, or the redshift near it that the spectrum shows if the hint is out of reach."""
    low, high = hint - HINT_WINDOW * (1 + hint), hint + HINT_WINDOW * (1 + hint)
    if not -0.01 < hint < 1.4:
        return hint
    fit = measure_redshift(arrays, redshift_range=(max(low, -0.01), min(high, 1.5)))
    if fit.reason[0] or fit.warning[0] or not np.isfinite(fit.redshift[0]):
        return hint
    found = float(fit.redshift[0])
    return found if abs(found - hint) > HINT_REACH * (1 + hint) else hint


def _checked_redshift(arrays, redshift):
    if redshift is None:
        hint = None if arrays.redshift is None else np.ravel(arrays.redshift)[0]
        if hint is None or not np.isfinite(hint):
            raise InputError(
                "redshift: expected a number, got None and no hint in spectrum.meta['redshift'];"
                " run measure_redshift first"
            )
        redshift = _near(arrays, float(hint))
    redshift = float(redshift)
    if not -0.01 < redshift < 2:
        raise InputError(f"redshift: expected a number in -0.01 to 2, got {redshift:g}")
    return redshift
