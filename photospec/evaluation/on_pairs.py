"""The tables of a model card that compare predictions with simulated truth."""

from dataclasses import dataclass

import numpy as np

from photospec.errors import InputError
from photospec.evaluation import agn
from photospec.evaluation.baselines import (
    TrainingPairs,
    boosted_trees,
    nearest,
    photometry_of,
    redshift_merit,
)
from photospec.evaluation.calibration import coverage, coverage_distance
from photospec.evaluation.draws import Draws, Store, draw_images, key_of, pair_images, redshifts_of
from photospec.evaluation.features import Photometry
from photospec.evaluation.measured import measure_spectra
from photospec.evaluation.properties import line_rows, median_of_set, property_rows
from photospec.evaluation.ranking import base_spectra, mean_spectrum, ranking_rows
from photospec.evaluation.redshift_table import redshift_rows
from photospec.evaluation.spectra import pixel_errors
from photospec.evaluation.value import Section, bootstrap
from photospec.utils.stats import ks_distance, pit

__all__ = ["PairsCard", "Settings", "pairs_card"]


@dataclass(frozen=True)
class Settings:
    """What a card is made from.

    Attributes
    ----------
    n_galaxies, n_candidates : int
        Test galaxies, and spectra drawn for each.
    n_measured : int
        Galaxies whose spectra are measured in full (populations, lines).
    n_set : int
        Candidates per galaxy that are measured in full: the best and the most similar others.
    n_training_measured : int
        Training spectra measured in full, behind the trees that predict properties.
    redshift_range : tuple of float
    r_limit : float
        Total r magnitude.
    skip_last : int
        Pairs at the end of the first training file that were kept for validation.
    networks : bool
        Whether networks that answer directly are trained too, to compare with: half an hour on
        one core.
    seed, n_processes : int
    progress : bool
    """

    n_galaxies: int = 5000
    n_candidates: int = 16
    n_measured: int = 500
    n_set: int = 4
    n_training_measured: int = 2000
    redshift_range: tuple = (0.05, 0.15)
    r_limit: float = 17.77
    skip_last: int = 512
    networks: bool = True
    seed: int = 0
    n_processes: int = 1
    progress: bool = False


@dataclass(frozen=True)
class PairsCard:
    """What was compared, and the tables.

    Attributes
    ----------
    sections : list of Section
    draws : Draws
    true_redshift : ndarray (n,)
    true_flux : ndarray (n, n_wave)
    redshifts : dict of str to ndarray (n,)
        Of the baselines.
    spectra : dict of str to ndarray (n, n_wave)
        Of the baselines.
    truth : dict of ndarray (n_measured,)
        Measured on the true spectra.
    estimates : dict of str to dict of ndarray (n_measured,)
    calibration : dict of str to ndarray
        PIT and coverage values behind the distances.
    """

    sections: list
    draws: Draws
    true_redshift: np.ndarray
    true_flux: np.ndarray
    redshifts: dict
    spectra: dict
    truth: dict
    estimates: dict
    calibration: dict


def select(pairs, settings):
    """Numbers of the test galaxies: the first so many in the ranges asked for."""
    z = np.asarray(pairs.object["redshift"], float)
    inside = (z > settings.redshift_range[0]) & (z < settings.redshift_range[1])
    table = pairs.truth
    if "magnitude_r" in table.colnames:
        inside &= np.asarray(table["magnitude_r"], float) < settings.r_limit
    index = np.flatnonzero(inside)[: settings.n_galaxies]
    if len(index) < 3:
        raise InputError(
            f"pairs: expected galaxies at {settings.redshift_range[0]} < z < "
            f"{settings.redshift_range[1]} to r = {settings.r_limit}, got {len(index)} in "
            f"{pairs.path}"
        )
    return index


def pairs_card(spectrograph, pairs, training, settings, *, folder=None):
    """Compare the spectrograph and baselines with the truth of simulated pairs.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    pairs : PairsFile
        With noiseless spectra, never trained on.
    training : sequence of path-like
        Pairs files that the spectrograph learned from; the baselines learn from them too.
    settings : Settings
    folder : path-like, optional
        Keeps what was drawn and measured, for the next run.

    Returns
    -------
    PairsCard
    """
    store, index = Store(folder), select(pairs, settings)
    ranges = *settings.redshift_range, settings.r_limit
    mine = store.within(f"pairs-{key_of(pairs.provenance, len(pairs), ranges)}")
    quiet = {"n_processes": settings.n_processes, "progress": settings.progress}
    read = pair_images(pairs)
    draws = draw_images(
        spectrograph,
        lambda row: read(index[row]),
        len(index),
        settings.n_candidates,
        seed=settings.seed,
        store=mine,
        **quiet,
    )
    z, flux = np.asarray(pairs.object["redshift"][index], float), pairs.truth_flux(index)
    lsf = spectrograph.line_spread()
    learned = TrainingPairs.read(
        training, bands=pairs.bands, skip_last=settings.skip_last, store=store
    )
    # Of all pairs, not only those of this card: what trees say is kept for the next one.
    photometry = photometry_of(pairs, len(pairs), store)
    redshifts, spectra = _baselines(learned, pairs, index, photometry, store, settings)
    sections = [
        Section("redshift", "Redshift", redshift_rows(draws, z, redshifts), _sample(settings, z)),
        _spectrum_section(draws, flux, z, spectra),
    ]
    # Everything that is measured in full, on fewer galaxies.
    few = slice(0, min(settings.n_measured, len(index)))
    kept = {"lsf": lsf, "store": store.within("measured"), **quiet}
    truth = measure_spectra(flux[few], z[few], **kept)
    ranked = draws.ranked(settings.n_set)
    of_set = measure_spectra(ranked.flux[few], ranked.redshift[few], **kept)
    estimates = {
        "best candidate": {name: values[:, 0] for name, values in of_set.items()},
        f"median of {settings.n_set} candidates": median_of_set(of_set),
    }
    for name, spectrum in spectra.items():
        own, _ = redshifts_of(spectrum[few], lsf, settings.n_processes)
        estimates[name] = measure_spectra(spectrum[few], own, **kept)
    trees = _property_trees(learned, photometry.features, lsf, store, settings)
    direct = {"boosted trees": {name: values[index[few]] for name, values in trees.items()}}
    correlation, scatter = property_rows(estimates | direct, truth)
    note = (
        f"{len(z[few])} galaxies, measured alike on predicted and on true noiseless spectra. The "
        "spectra of direct regression and nearest neighbour are measured as predicted ones are; "
        "the trees predict the numbers themselves from the photometry."
    )
    decided = _agn_rows(pairs, index[few], of_set, learned, photometry.features, store)
    calibration, calibration_rows = _calibration(draws, z, flux, settings)
    sections += [
        Section("lines", "Emission lines: relative error", line_rows(estimates, truth), note),
        Section("correlation", "Properties: Spearman correlation", correlation, note),
        Section("scatter", "Properties: scatter (1.4826 MAD)", scatter, note),
        Section("agn", "AGN or not", decided[0], decided[1]),
        Section(
            "calibration",
            "Calibration: distance from uniform or from the diagonal",
            calibration_rows,
            "Chance alone gives about "
            f"{0.87 / np.sqrt(len(z)):.3f} for so many galaxies where values are independent. "
            "Candidates outside of the test galaxies' range of redshift do not count.",
        ),
        Section("ranking", "Ways to choose", ranking_rows(draws, z, flux)),
    ]
    return PairsCard(
        sections, draws, z, flux, redshifts, spectra, truth, estimates | direct, calibration
    )


def _sample(settings, z):
    low, high = settings.redshift_range
    return (
        f"{len(z)} simulated galaxies, {low} < z < {high}, r < {settings.r_limit}, "
        f"{settings.n_candidates} candidates each; errors by bootstrap."
    )


def _baselines(learned, pairs, index, photometry, store, settings):
    """Redshifts and spectra of what is beaten or not."""
    # Training needs torch, which is no business of this room otherwise.
    from photospec.training.direct_regression import predict_regressor, train_regressor

    def trees():
        predict = boosted_trees(
            learned.photometry.features, learned.redshift, merit=redshift_merit, seed=settings.seed
        )
        return {"redshift": predict(photometry.features)}

    key = key_of(learned.redshift, photometry.features, settings.seed)
    mine = Photometry(photometry.features[index], photometry.compact[index])
    neighbour = nearest(learned, mine)
    of_trees = store.get(f"trees-{key}", trees)["redshift"][index]
    redshifts = {"boosted trees on photometry": of_trees}
    spectra = {}
    image = pairs.image(index)
    folder = store.folder
    for target in ("redshift", "spectrum") if settings.networks else ():
        answer = predict_regressor(
            train_regressor(target, learned.paths, folder, progress=settings.progress), image
        )
        if target == "redshift":
            redshifts["direct image regressor"] = answer[:, 0]
        else:
            spectra["direct regression"] = np.maximum(answer, 1e-3)
    redshifts["nearest neighbour"] = learned.redshift[neighbour]
    spectra["nearest neighbour"] = learned.flux(neighbour)
    return redshifts, spectra


def _spectrum_section(draws, flux, z, spectra):
    rows = []
    answers = {
        "best candidate": draws.of_best(),
        "one candidate, unranked": draws.flux[:, 0],
        "candidate set: mean": mean_spectrum(draws.flux),
        **spectra,
    }
    for name, spectrum in answers.items():
        errors = pixel_errors(spectrum, flux, z)
        rows.append(
            {"spectrum": name}
            | {f"{k} (%)": bootstrap(np.median, 100 * v) for k, v in errors.items()}
        )
    return Section(
        "spectrum",
        "Spectrum: error per pixel",
        rows,
        "Median over galaxies of each one's median abs(predicted / true - 1) at equal mean flux; "
        "line pixels lie within 8 rest Angstrom of an emission line.",
    )


def _property_trees(learned, features, lsf, store, settings):
    """Direct regression of the properties, from photometry."""
    n = min(settings.n_training_measured, len(learned))
    rows = np.sort(np.random.default_rng(settings.seed).choice(len(learned), n, replace=False))
    target = measure_spectra(
        learned.flux(rows),
        learned.redshift[rows],
        lsf,
        store=store.within("measured"),
        n_processes=settings.n_processes,
        progress=settings.progress,
    )

    def predict():
        from photospec.evaluation.properties import PROPERTIES

        made = {}
        for name in PROPERTIES:
            known = name in learned.truth
            x = learned.photometry.features if known else learned.photometry.features[rows]
            y = learned.truth[name] if known else target[name]
            made[name] = boosted_trees(x, y, tune=False, seed=settings.seed)(features)
        return made

    return store.get(f"properties-{key_of(features, n, settings.seed)}", predict)


def _agn_rows(pairs, index, of_set, learned, features, store):
    truth = {name: np.asarray(pairs.truth[name][index]) for name in pairs.truth.colnames}
    seen = agn.measurable(truth, pairs, index)
    is_agn = agn.above_kauffmann(truth)
    x = agn.ratios(of_set)
    height = agn.kauffmann_height(x)
    # Galaxies whose candidates have no lines to tell by lie where most of such do: above.
    mean_height = np.nanmean(np.where(np.isfinite(height), height, 2.0), axis=1)
    share = np.mean(~(height <= 0), axis=1)
    trained = agn.above_kauffmann(learned.truth)
    probability = store.get(
        f"agn-{key_of(features, len(learned))}",
        lambda: {
            "p": boosted_trees(learned.photometry.features, trained, classify=True, tune=False)(
                features
            )
        },
    )["p"][index]
    told = {
        "best candidate": ~(height[:, 0] <= 0),
        "share of the candidates above the curve, half": share > 0.5,
        "mean height of the candidates above the curve, zero": mean_height > 0,
        "share, threshold from other galaxies": None,
        "mean height, threshold from other galaxies": None,
        "boosted trees on photometry": probability > 0.5,
    }
    rows = []
    for name, decision in told.items():
        row = {"decided by": name}
        for label, chosen in (("measurable", seen), ("all", np.ones(len(seen), bool))):
            if decision is None:
                values = share if name.startswith("share") else mean_height
                taken = agn.crossed_decision(values[chosen], is_agn[chosen])
            else:
                taken = decision[chosen]
            row[f"balanced accuracy, {label}"] = agn.balanced_accuracy(taken, is_agn[chosen])
        rows.append(row)
    note = (
        f"{len(seen)} galaxies, {seen.sum()} of them with four lines above 3 sigma in an SDSS "
        f"spectrum, of which {is_agn[seen].mean():.0%} lie above the Kauffmann et al. (2003) "
        "curve by their true line fluxes."
    )
    return rows, note


def _calibration(draws, z, flux, settings):
    few = max(2, settings.n_candidates // 4)
    pixels = np.sort(np.random.default_rng(settings.seed).choice(flux.shape[1], 64, replace=False))
    level = flux.mean(axis=1, keepdims=True)
    low, high = settings.redshift_range
    values, rows = {}, []
    for name, some in (
        (f"all {settings.n_candidates} candidates", draws),
        (f"the {few} most similar", draws.most_similar(few)),
    ):
        relative = some.flux[:, :, pixels] / some.flux.mean(axis=2, keepdims=True)
        relative = relative * level[:, None]
        # The truths were chosen by redshift; where they cannot lie, candidates do not count.
        inside = (some.redshift > low) & (some.redshift < high)
        options = {"counts": inside, "seed": settings.seed}
        found = {
            "PIT of redshift": pit(some.redshift, z, **options),
            "PIT of pixels": np.stack(
                [pit(relative[:, :, i], flux[:, p], **options) for i, p in enumerate(pixels)],
                axis=1,
            ),
            "coverage of redshift": coverage(some.redshift[..., None], z[:, None], **options),
            "coverage of spectra": coverage(base_spectra(some.flux), base_spectra(flux), **options),
        }
        values[name] = found
        rows.append(
            {"candidates": name}
            | {
                k: bootstrap(coverage_distance if k.startswith("cov") else ks_distance, v)
                for k, v in found.items()
            }
        )
    return values, rows
