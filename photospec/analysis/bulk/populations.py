"""Dust and weights of all templates at known kinematics, with one pass over the pixels.

The fit is that of `photospec.analysis.populations.weights`: chi2 over E(B-V), each time with all
templates. Here the attenuation is taken as linear between knots 256 pixels (6 % of the wavelength)
apart, which follows Calzetti's curve to half a per cent of the flux at E(B-V) = 0.3. The products
of the templates with each other are then sums over the intervals of three products that do not
know the reddening, and a new E(B-V) costs no pixels. Chi2 is that of a model that can be written
down, to rounding, and not an interpolation of chi2.
"""

from collections.abc import Sequence
from os import PathLike

import numpy as np

from photospec.analysis.bulk.dusty import DustyFits
from photospec.analysis.bulk.frames import ObservedSpectra
from photospec.analysis.bulk.kinematics import (
    Lines,
    fit_kinematics,
    seen_groups,
)
from photospec.analysis.bulk.library import library_of
from photospec.analysis.populations.kinematics import Kinematics
from photospec.analysis.populations.resolution import MatchedTemplates
from photospec.analysis.populations.result import PopulationFit, blank_fit, finish
from photospec.analysis.populations.templates import TemplateSet, load_templates
from photospec.analysis.populations.weights import FitData, Weights, reason_unfit
from photospec.spectrum import SpectrumArrays
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["fit_populations_bulk"]

BLOCK = 16  # spectra at a time: 150 MB, and the products of one pass stay near the processor
# Where line-spread function and dispersion leave no structure between every second pixel, sums
# over those are half the sums over all: to 1e-4 of the line fluxes, and far better for stars.
THIN, THIN_LSF = 2, 75.0  # and the narrowest line-spread function for it, km/s
INTERVAL = 256  # pixels of the library between two knots of the attenuation


def fit_populations_bulk(
    rows: Sequence[SpectrumArrays],
    redshift: np.ndarray,
    *,
    templates: str | PathLike | TemplateSet = "bc03",
    seed: int = 0,
) -> list[PopulationFit]:
    """Fit stellar populations, kinematics and gas of spectra without noise.

    `photospec.analysis.fit_populations` with its default settings, for many spectra.

    Parameters
    ----------
    rows : list of SpectrumArrays
        One spectrum each, for which `reason_not_bulk` has nothing to say.
    redshift : ndarray (n,)
        Within some hundred km/s of the truth.
    templates : str, path or TemplateSet
        As of `fit_populations`.
    seed : int
        Of the draws behind the errors: they use the numbers that `fit_populations` uses.

    Returns
    -------
    list of PopulationFit
        NaN with a reason in ``flags`` where nothing could be measured. A fit does not depend
        on the other spectra.
    """
    library = library_of(load_templates(templates))
    fits, groups = [None] * len(rows), {}
    for i, row in enumerate(rows):
        groups.setdefault(np.asarray(row.wavelength, float).tobytes(), []).append(i)
    for members in groups.values():
        for start in range(0, len(members), BLOCK):
            block = np.array(members[start : start + BLOCK])
            sources = ObservedSpectra.of([rows[i] for i in block])
            for i, fit in zip(block, _fit_block(sources, redshift[block], library, seed)):
                fits[i] = fit
    return fits


def _fit_block(sources, redshift, library, seed):
    """Fits of spectra on one grid of wavelengths."""
    n = len(redshift)
    frames = sources.at(np.arange(n), np.asarray(redshift, float), library)
    fits, steps = [None] * n, np.zeros(n, int)
    for i in range(n):
        spectrum, part = frames.spectrum(i), library.until(redshift[i])
        reason = reason_unfit(spectrum, ~spectrum.mask, part.fit_range)
        if reason:
            fits[i] = blank_fit(spectrum, part, reason)
            continue
        resolution = np.min(spectrum.lsf_sigma / spectrum.wavelength) * SPEED_OF_LIGHT
        steps[i] = THIN if resolution > THIN_LSF else 1
    for step in (THIN, 1):
        rows = np.flatnonzero(steps == step)
        if rows.size:
            some = _fit_alike(sources, rows, frames.take(rows), step, seed)
            for i, fit in zip(rows, some, strict=True):
                fits[i] = fit
    return fits


def _fit_alike(sources, rows, frames, step, seed):
    """Fits of spectra whose sums run over the same pixels, alone if one of them fails."""
    try:
        return _fit_together(sources.take(rows), frames, step, seed)
    except (np.linalg.LinAlgError, RuntimeError) as error:
        if len(rows) > 1:
            alone = [np.array([k]) for k in range(len(rows))]
            return [
                fit
                for k in alone
                for fit in _fit_alike(sources, rows[k], frames.take(k), step, seed)
            ]
        text = " ".join(str(error).split())[:120]
        reason = f"fit failed: {type(error).__name__} {text}"
        return [blank_fit(frames.spectrum(0), frames.library.until(frames.redshift[0]), reason)]


def _fit_together(sources, frames, step, seed):
    library = frames.library
    motion = fit_kinematics(sources, frames, step)
    frames = sources.at(np.arange(len(frames)), motion.redshift, library)
    dusty, profiles = _products(frames, motion, step)
    dusty.search()
    n_templates = dusty.n_templates
    continua = _continua(frames, motion, dusty.weights[:, :n_templates] @ dusty.templates, step)
    data, found = [], []
    for i in range(len(frames)):
        data.append(_fit_data(frames, motion, i))
        window, part = data[i].window, data[i].library
        dimmed = 10 ** (-0.4 * dusty.ebv[i] * library.attenuation[window])
        found.append(
            Weights(
                light=dusty.weights[i, : part.light.size].reshape(part.light.shape),
                ebv=float(dusty.ebv[i]),
                ebv_error=float(dusty.ebv_error[i]),
                chi2=float(dusty.chi2[i]) / max(data[i].good.sum() - 5, 1),
                continuum=continua[i, window] * dimmed,
                gas=profiles[i, window] @ dusty.weights[i, n_templates:],
                basis=None,
                lines=None,
                smoothness=None,
                averaged=True,
            )
        )
    draws = dusty.draws(found, [np.random.default_rng(seed) for _ in found])
    return [
        finish(one, _kinematics(motion, i), weights, lambda: drawn)  # noqa: B023
        for i, (one, weights, drawn) in enumerate(zip(data, found, draws, strict=True))
    ]


def _fit_data(frames, motion, row):
    """FitData of one spectrum, without outliers and with errors from the residuals."""
    library, spectrum = frames.library, frames.spectrum(row)
    first, last = np.flatnonzero(~spectrum.mask)[[0, -1]]
    window = slice(int(first), int(last) + 1)
    mask, part = spectrum.mask[window], library.until(spectrum.redshift)
    return FitData(
        spectrum=spectrum,
        window=window,
        wavelength=spectrum.wavelength[window],
        flux=spectrum.flux[window],
        sigma=np.where(mask, 1e6, 1.0) * motion.spread[row],
        good=~(mask | motion.outliers[row, window]),
        lsf_sigma=spectrum.lsf_sigma[window],
        matched=MatchedTemplates(
            part, library.wavelength, np.zeros((0, 0)), float(frames.floor[row])
        ),
    )


def _kinematics(motion, row):
    free, error, nothing = motion.free[row], motion.error[row], np.zeros(0)
    return Kinematics(
        stars=np.array([0.0, free[1], np.nan, np.nan]),
        stars_error=np.array([error[0], error[1], np.nan, np.nan]),
        gas=free[None, 2:],
        gas_error=error[None, 2:],
        chi2=float(motion.chi2[row]),
        weights=nothing,
        best_fit=nothing,
        gas_fit=nothing,
        polynomial=nothing,
        gas_names=(),
        gas_flux=nothing,
    )


def _continua(frames, motion, mixes, step):
    """Stars (n, n_pixels) on all pixels of the library, without dust, of mixes of the basis."""
    vectors = mixes.astype(np.float32)[..., None]
    pixels = np.arange(frames.flux.shape[1])
    stars = np.empty(frames.flux.shape)
    for offset in range(step):
        some = pixels[offset::step]
        basis = frames.basis(motion.free[:, 1], some, np.ones((len(frames), some.size)))
        stars[:, some] = (basis @ vectors)[..., 0]
    return stars


def _products(frames, motion, step):
    """Return products of templates, lines and flux within the intervals, and the lines.

    Returns
    -------
    DustyFits
    profiles : ndarray (n, n_pixels, n_lines)
    """
    library = frames.library
    n_pixels = frames.flux.shape[1]
    per = INTERVAL // step
    pixels = np.arange(0, n_pixels, step)
    n_intervals = -(-pixels.size // per)
    padding = [(0, 0), (0, n_intervals * per - pixels.size)]
    good = ~(frames.mask | motion.outliers)[:, pixels]
    inverse = good * np.sqrt(step) / motion.spread[:, None]
    profiles = Lines(frames, motion.free[:, 2], motion.free[:, 3]).columns()
    seen = seen_groups(profiles[:, ::step], good, library, step)
    other = np.concatenate([profiles[:, ::step], frames.flux[:, pixels, None]], axis=2)
    other *= inverse[..., None]
    other[..., :-1] *= seen[:, None]
    other = np.pad(other, [*padding, (0, 0)])
    # Whole intervals: what is beyond the last pixel has no weight.
    inside = np.pad(pixels, padding[1], mode="edge")
    basis = frames.basis(motion.free[:, 1], inside, np.pad(inverse, padding))
    along = (np.arange(per) / per)[:, None].astype(basis.dtype)
    falling, rising = 1 - along, along
    products, crossed, n_basis = [], [], basis.shape[2]
    for whole, beside in zip(basis, other, strict=True):  # one by one: near the processor
        whole = np.ascontiguousarray(whole).reshape(n_intervals, per, -1)
        columns = whole.swapaxes(1, 2)
        product = np.empty((n_intervals, 3, n_basis, n_basis))
        # A weight of its own also keeps a matrix from meeting itself: for small ones the product
        # that makes use of its symmetry is the slower one.
        for k, weight in enumerate((falling**2, rising**2, np.ones_like(along))):
            product[:, k] = columns @ (whole * weight)
        products.append(product.reshape(3 * n_intervals, -1))
        blocks = beside.astype(basis.dtype).reshape(n_intervals, per, -1)
        cross = np.empty((n_intervals, 2, n_basis, blocks.shape[2]))
        for k, weight in enumerate((falling, rising)):
            cross[:, k] = columns @ (blocks * weight)
        crossed.append(cross.reshape(2 * n_intervals, -1))
    dusty = DustyFits(
        products=products,
        crossed=crossed,
        other=other.swapaxes(1, 2) @ other,
        curve=library.attenuation_at(INTERVAL * np.arange(n_intervals + 1)),
        coefficients=library.coefficients,
        n_young=[library.until(z).light.size for z in frames.redshift],
        start=motion.kept,
    )
    return dusty, profiles
