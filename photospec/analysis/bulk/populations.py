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

from photospec.analysis.bulk.frames import ObservedSpectra
from photospec.analysis.bulk.kinematics import (
    Lines,
    fit_kinematics,
    seen_groups,
)
from photospec.analysis.bulk.library import library_of
from photospec.analysis.bulk.nonnegative import Columns, nearest, solve_screened, triangles
from photospec.analysis.populations.errors import N_DRAWS, shifts_of_ebv
from photospec.analysis.populations.kinematics import Kinematics
from photospec.analysis.populations.resolution import MatchedTemplates
from photospec.analysis.populations.result import PopulationFit, blank_fit, finish
from photospec.analysis.populations.templates import TemplateSet, load_templates
from photospec.analysis.populations.weights import EBV_MAX, FitData, Weights, minimum, reason_unfit
from photospec.spectrum import SpectrumArrays
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["fit_populations_bulk"]

BLOCK = 16  # spectra at a time: 150 MB, and the products of one pass stay near the processor
# Where line-spread function and dispersion leave no structure between every second pixel, sums
# over those are half the sums over all: to 1e-4 of the line fluxes, and far better for stars.
THIN, THIN_LSF = 2, 75.0  # and the narrowest line-spread function for it, km/s
INTERVAL = 256  # pixels of the library between two knots of the attenuation
FIRST_STEP = 6  # of the templates to begin with, over ages and metallicities
FIRST_EBV = 0.1  # where to see which columns matter; `minimum` looks there too
SURE = 30.0  # sigmas of a line that noise will hardly make negative
N_SCREENED = 40  # columns that later fits begin with


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
    dusty = _products(frames, motion, step)
    weights = [one.weights() for one in dusty]
    continua = _continua(frames, motion, dusty, step)
    fits = []
    for i, (one, (light, ebv, error, chi2, gas)) in enumerate(zip(dusty, weights, strict=True)):
        data = _fit_data(frames, motion, i)
        window = data.window
        dimmed = 10 ** (-0.4 * ebv * library.attenuation[window])
        found = Weights(
            light=light.reshape(data.library.light.shape),
            ebv=ebv,
            ebv_error=error,
            chi2=chi2 / max(data.good.sum() - 5, 1),
            continuum=continua[i, window] * dimmed,
            gas=one.profiles[window] @ gas,
            basis=None,
            lines=None,
            smoothness=None,
            averaged=True,
        )
        rng = np.random.default_rng(seed)
        fits.append(finish(data, _kinematics(motion, i), found, lambda: one.draws(found, rng)))  # noqa: B023
    return fits


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


def _continua(frames, motion, dusty, step):
    """Stars (n, n_pixels) on all pixels of the library, without dust."""
    vectors = np.array([one.vector for one in dusty], np.float32)[..., None]
    pixels = np.arange(frames.flux.shape[1])
    stars = np.empty(frames.flux.shape)
    for offset in range(step):
        some = pixels[offset::step]
        basis = frames.basis(motion.free[:, 1], some, np.ones((len(frames), some.size)))
        stars[:, some] = (basis @ vectors)[..., 0]
    return stars


def _products(frames, motion, step):
    """Products of templates, lines and flux within the intervals, for each spectrum."""
    library = frames.library
    n, n_pixels = frames.flux.shape
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
    other = np.pad(other, [*padding, (0, 0)])
    # Whole intervals: what is beyond the last pixel has no weight.
    inside = np.pad(pixels, padding[1], mode="edge")
    basis = frames.basis(motion.free[:, 1], inside, np.pad(inverse, padding))
    curve = library.attenuation_at(INTERVAL * np.arange(n_intervals + 1))
    along = (np.arange(per) / per)[:, None]
    dusty, n_basis = [], basis.shape[2]
    for i in range(n):  # one by one: the products of one stay near the processor
        whole = basis[i].astype(float).reshape(n_intervals, per, -1)
        right = whole * along
        left = whole - right
        products = np.empty((n_intervals, 3, n_basis, n_basis))
        for k, part in enumerate((left, right, whole)):
            np.matmul(part.swapaxes(1, 2), part, out=products[:, k])
        products[:, 2] -= products[:, 0]
        products[:, 2] -= products[:, 1]
        shown = np.append(np.flatnonzero(seen[i]), len(seen[i]))
        beside = other[i][:, shown]
        blocks = beside.reshape(n_intervals, per, -1)
        crossed = np.stack([part.swapaxes(1, 2) @ blocks for part in (left, right)], axis=1)
        dusty.append(
            _Dusty(
                products=products.reshape(3 * n_intervals, -1),
                crossed=crossed.reshape(2 * n_intervals, -1),
                other=beside.T @ beside,
                curve=curve,
                part=library.until(frames.redshift[i]),
                profiles=profiles[i][:, seen[i]],
            )
        )
    return dusty


class _Dusty:
    """Linear fits of one spectrum at any E(B-V).

    Parameters
    ----------
    products : ndarray (3 n_intervals, n_basis^2)
    crossed : ndarray (2 n_intervals, n_basis (n_lines + 1))
    other : ndarray (n_lines + 1, n_lines + 1)
        Products of lines and flux.
    curve : ndarray (n_intervals + 1,)
        Attenuation over E(B-V) at the knots.
    part : TemplateSet
    profiles : ndarray (n_pixels, n_lines)
    """

    def __init__(self, products, crossed, other, curve, part, profiles):
        self.products, self.crossed, self.other = products, crossed, other
        self.curve, self.profiles = curve, profiles
        self.coefficients = part.coefficients.reshape(len(part.coefficients), -1)
        self.shape = part.light.shape
        # Some templates of all ages and metallicities, and the lines.
        n_templates = self.coefficients.shape[1]
        self.first = np.concatenate(
            [np.arange(3, n_templates, FIRST_STEP), n_templates + np.arange(len(other) - 1)]
        )

    def system(self, ebv):
        """Columns, all templates and then the lines, data and unavoidable chi2 at some E(B-V)."""
        at = 10 ** (-0.4 * ebv * self.curve)
        low, high = at[:-1], at[1:]
        n_basis = len(self.coefficients)
        size = n_basis + len(self.other)
        gram = np.empty((1, size, size))
        factors = np.stack([low**2, high**2, low * high], 1).ravel()
        gram[0, :n_basis, :n_basis] = (factors @ self.products).reshape(n_basis, n_basis)
        crossed = np.stack([low, high], 1).ravel() @ self.crossed
        gram[0, :n_basis, n_basis:] = crossed.reshape(n_basis, -1)
        gram[0, n_basis:, :n_basis] = gram[0, :n_basis, n_basis:].T
        gram[0, n_basis:, n_basis:] = self.other
        reduced = triangles(gram)[0]
        columns = Columns(reduced[:-1, :-1], self.coefficients)
        return columns, reduced[:-1, -1], reduced[-1, -1] ** 2

    def solve(self, columns, data, rest):
        """Weights of the best fit and chi2."""
        found, self.kept, left = solve_screened(columns, data[None], self.kept, self.norm)
        return found[0], left[0] + rest

    def keep_nearest(self, columns, data, weights):
        """Begin the next fits with the columns that matter here."""
        used = np.flatnonzero(weights)
        residual = data - columns.take(used) @ weights[used]
        gradient = columns.gradient(residual[None])[0]
        self.kept = nearest(gradient, self.norm, weights, N_SCREENED)
        self.positive = weights * self.norm > SURE
        self.positive[: self.coefficients.shape[1]] = False

    def weights(self):
        """Best fit over E(B-V).

        Returns
        -------
        light : ndarray (n_templates,)
        ebv, error, chi2 : float
        gas : ndarray (n_lines,)
        """
        first = columns, data, rest = self.system(FIRST_EBV)
        self.norm = columns.norms()
        found, self.kept, left = solve_screened(columns, data[None], self.first, self.norm)
        self.keep_nearest(columns, data, found[0])
        solved = {FIRST_EBV: (found[0], left[0] + rest, first)}

        def chi2_at(ebv):
            ebv = round(float(ebv), 6)
            if ebv not in solved:
                system = self.system(ebv)
                solved[ebv] = (*self.solve(*system), system)
            return solved[ebv][1]

        ebv, error = minimum(chi2_at, EBV_MAX)
        found, chi2, self.best = solved[round(float(ebv), 6)]
        self.keep_nearest(*self.best[:2], found)
        n_templates = self.coefficients.shape[1]
        self.vector = self.coefficients @ found[:n_templates]
        return found[:n_templates], ebv, error, chi2, found[n_templates:]

    def draws(self, weights, rng):
        """Light weights (n_draws, n_ages, n_metallicities) of fits with fresh noise.

        As `photospec.analysis.populations.errors.draw_weights`, with the same noise.
        """
        scale = np.sqrt(max(weights.chi2, 1.0))
        shifts = shifts_of_ebv(weights)
        draws = []
        for index, shift in enumerate(shifts):
            columns, data, _ = self.best if shift == 0 else self.system(weights.ebv + shift)
            n = len(range(index, N_DRAWS, len(shifts)))
            noise = scale * rng.standard_normal((n, data.size))
            found, self.kept, _ = solve_screened(
                columns, data + noise, self.kept, self.norm, self.positive
            )
            light = found[:, : np.prod(self.shape)]
            light = light[light.sum(1) > 0]
            draws.append(light / light.sum(1, keepdims=True))
        return np.concatenate(draws).reshape(-1, *self.shape)
