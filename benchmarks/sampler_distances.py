"""How far apart the spectra of two samplers are, and how far chance alone puts them.

Both have spectra of the same galaxies, the i-th of each at the same redshift.
"""

import numpy as np
import torch
from astropy.stats import mad_std
from astropy.utils.masked import Masked
from scipy.stats import trim_mean

from photospec.analysis import measure_properties
from photospec.networks.scaling import to_base
from photospec.spectrum import WAVELENGTH, from_arrays

N_PERMUTATIONS = 500
N_COMPONENTS = 50


def differences(ones, others):
    """Relative differences of two ways, in per cent, over pixels and galaxies.

    Parameters
    ----------
    ones, others : list of (flux, shapes, redshift)
        Of each galaxy, see `line_shapes`.

    Returns
    -------
    dict of str to float
        ``mean``: median over pixels of abs(ratio - 1); ``spread``: mean ratio - 1;
        ``components``: root mean square of ratio - 1 of the spreads along the leading principal
        components; ``width``, ``ew``: sum of the trimmed means of galaxies and lines, ratio - 1.
    """
    fluxes = [(a[0], b[0]) for a, b in zip(ones, others, strict=True)]
    mean = [np.abs(a.mean(0) / b.mean(0) - 1) for a, b in fluxes]
    spread = [a.std(0).mean() / b.std(0).mean() for a, b in fluxes]
    found = {"mean": np.median(mean), "spread": np.mean(spread) - 1}
    found["components"] = np.sqrt(np.mean(np.square(_component_ratios(*zip(*fluxes, strict=True)))))
    for key in ("width", "ew"):
        a, b = (np.array([_trimmed_means(one[1][key]) for one in way]) for way in (ones, others))
        seen = np.isfinite(a) & np.isfinite(b)
        found[key] = (a - b)[seen].sum() / np.abs(b[seen]).sum() if seen.any() else np.nan
    return {key: 100 * float(value) for key, value in found.items()}


def _component_ratios(ones, others):
    """Ratio - 1 of the spreads along the principal components of `others`.

    Of logarithmic base spectra about the mean of each galaxy. Pixels, and the means of their
    spreads, are ruled by the few components with the most variance.
    """

    def residuals(fluxes):
        logs = [to_base(torch.from_numpy(flux)).log().numpy() for flux in fluxes]
        return np.concatenate([log - log.mean(0) for log in logs])

    a, b = residuals(ones), residuals(others)
    axes = np.linalg.eigh(b.T @ b)[1][:, : -N_COMPONENTS - 1 : -1]
    return (a @ axes).std(0) / (b @ axes).std(0) - 1


def _trimmed_means(values):
    """Of each line, over the candidates; NaN where fewer than half show it.

    Without the highest and lowest tenth, as one candidate with bright lines would outweigh all
    others. Chance moves these less than means or medians.
    """
    seen = np.isfinite(values).mean(0) > 0.5
    return np.array(
        [
            trim_mean(v[np.isfinite(v)], 0.1) if s else np.nan
            for v, s in zip(values.T, seen, strict=True)
        ]
    )


def measured(fluxes, lsf):
    """Properties of candidates, in bulk: {column: values (n_galaxies, n_candidates)}.

    Parameters
    ----------
    fluxes : list of ndarray (n_candidates, N_FINE)
        Of each galaxy, equally many.
    lsf : ndarray (N_FINE,)
        Gaussian sigma of the spectra, Angstrom.
    """
    flux = np.concatenate(fluxes).astype(float)
    table = measure_properties(from_arrays(WAVELENGTH, flux, lsf=lsf), n_processes=1)
    names = [name for name in table.colnames if f"{name}_error" in table.colnames]
    found = {}
    for name in names:
        column = Masked(table[name])
        values = np.where(column.mask, np.nan, np.asarray(column.unmasked, float))
        found[name] = values.reshape(len(fluxes), -1)
    return found


def property_differences(ones, others):
    """Differences of measured properties, in units of the candidates' scatter about their galaxy.

    Returns
    -------
    dict of str to (float, str)
        Root mean square over columns and the column with the largest one of ``scatter`` (between
        candidates of the same noise), ``shift`` (of the mean over candidates, mean over galaxies)
        and ``width`` (ratio of the candidates' scatters - 1, median over galaxies).
    """
    found = {"scatter": {}, "shift": {}, "width": {}}
    for name, b in others.items():
        a = np.where(np.isfinite(b), ones[name], np.nan)
        b = np.where(np.isfinite(a), b, np.nan)
        seen = np.isfinite(b).mean(1) >= 0.5
        if not seen.any():
            continue
        a, b = a[seen], b[seen]
        spread = np.nanstd(b, axis=1)
        error = (a - b) / spread[:, None]
        found["scatter"][name] = mad_std(error, ignore_nan=True)
        found["shift"][name] = np.nanmean(np.nanmean(error, axis=1))
        found["width"][name] = np.nanmedian(np.nanstd(a, axis=1) / spread) - 1
    return {
        key: (
            float(np.sqrt(np.nanmean(np.square(list(values.values()))))),
            max(values, key=lambda name, values=values: abs(values[name])),
        )
        for key, values in found.items()
    }


def sampling_noise(reference, rng, n_splits=40):
    """What `differences` finds between halves of one way, scaled to the full number: rms.

    Of every two candidates that are neighbours in redshift one goes to each half, because the
    ways that are compared share their redshifts too.
    """
    found = []
    for _ in range(n_splits):
        halves = [[], []]
        for flux, shapes, redshift in reference:
            order = np.argsort(redshift) if len(redshift) else rng.permutation(len(flux))
            pairs = rng.permuted(order[: len(order) // 2 * 2].reshape(-1, 2), axis=1)
            for half, rows in zip(halves, pairs.T, strict=True):
                half.append((flux[rows], {key: value[rows] for key, value in shapes.items()}))
        found.append(differences(*halves))
    return {k: np.sqrt(np.nanmean([f[k] ** 2 for f in found]) / 2) for k in found[0]}


def energy_test(ones, others, rng):
    """Energy distance over the scatter of `others`, its 95 % limit by chance, and p.

    Szekely & Rizzo 2013, doi:10.1016/j.jspi.2013.03.018; logarithmic base spectra. Chance
    exchanges the two spectra of the same galaxy and redshift.
    """
    observed, shuffled, scatter = 0.0, np.zeros(N_PERMUTATIONS), 0.0
    for (a, *_), (b, *_) in zip(ones, others, strict=True):
        both = to_base(torch.from_numpy(np.concatenate([a, b]))).log()
        distance = torch.cdist(both, both).numpy().astype(float)
        n = len(a)

        def statistic(first, distance=distance):
            second = (first + len(first)) % (2 * len(first))
            m = len(first)
            cross = distance[np.ix_(first, second)]
            cross = cross.sum() - cross.trace()  # without those of the same redshift
            inside = [distance[np.ix_(one, one)].sum() for one in (first, second)]
            return (2 * cross - sum(inside)) / (m * (m - 1))

        rows = np.arange(n)
        observed += statistic(rows)
        shuffled += [statistic(rows + n * rng.integers(2, size=n)) for _ in range(N_PERMUTATIONS)]
        scatter += distance[n:, n:].mean()
    limit = np.quantile(shuffled, 0.95)
    return observed / scatter, limit / scatter, float(np.mean(shuffled >= observed))
