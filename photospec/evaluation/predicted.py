"""What a spectrograph answers to the images of pairs, reduced to a row per pair."""

import hashlib

import numpy as np

from photospec.errors import InputError
from photospec.evaluation.answers import Answer, Mixture, binned_errors, spectrum_numbers
from photospec.evaluation.calibration import coverage
from photospec.evaluation.draws import Draws, key_of, pair_images, redshifts_of
from photospec.evaluation.measured import QUANTITIES, measure_spectra
from photospec.evaluation.observed import reference_spectra
from photospec.evaluation.ranking import base_spectra, choices, mean_spectrum
from photospec.evaluation.records import collect, scattered
from photospec.evaluation.redshift_table import density_mode
from photospec.evaluation.spectra import pixel_errors
from photospec.spectrum import FLUX_UNIT
from photospec.utils.stats import pit

__all__ = ["N_EXAMPLES", "answers_of", "measure_predictions", "weights_key"]

#: Galaxies whose spectra are kept to be drawn.
N_EXAMPLES = 32
N_PIXELS = 64
_MEASURES = ("all", "continuum", "line")


def weights_key(spectrograph, image):
    """Return the short name of weights and precision: of the files, or of what they make of an
    image.
    """
    try:
        folder = spectrograph.folder
    except (AttributeError, InputError):
        drawn = spectrograph.sample(image, 2, seed=0).spectra.flux.to_value(FLUX_UNIT)
        return key_of(np.asarray(drawn, np.float32))
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.*")):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(str(spectrograph.dtype).encode())
    return digest.hexdigest()[:12]


def _sample_all(spectrograph, images, n, seed):
    """Draw the candidates of each image; None for one that cannot be used."""
    if hasattr(spectrograph, "sample_each"):
        try:
            return list(spectrograph.sample_each(images, n, seed=seed))
        except InputError:
            pass  # one of them: which, is found one by one
    found = []
    for image in images:
        try:
            found.append(spectrograph.sample(image, n, seed=seed))
        except InputError:
            found.append(None)
    return found


def _draws(candidates, lsf, n_processes):
    flux = np.stack([c.spectra.flux.to_value(FLUX_UNIT) for c in candidates]).astype(np.float32)
    similarity = np.stack([np.asarray(c.similarity, float) for c in candidates])
    best = np.array([c.best_index for c in candidates])
    expected = [getattr(c, "expected_redshift", None) for c in candidates]
    expected = np.array([np.nan if e is None else e for e in expected], float)
    return Draws(flux, similarity, *redshifts_of(flux, lsf, n_processes), best, expected)


def measure_predictions(spectrograph, pairs, index, settings, store):
    """Draw candidates for pairs and measure them.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    pairs : PairsFile
    index : ndarray of int (n,)
        Rows of the pairs that are used.
    settings : photospec.evaluation.on_pairs.Settings
    store : photospec.evaluation.draws.ResultStore

    Returns
    -------
    dict of ndarray (n, ...)
    """
    read, lsf = pair_images(pairs), spectrograph.line_spread()
    redshift = np.asarray(pairs.object["redshift"], float)

    def measure(rows):
        chosen = index[rows]
        images = [read(row) for row in chosen]
        drawn = _sample_all(spectrograph, images, settings.n_candidates, settings.seed)
        good = np.flatnonzero([one is not None for one in drawn])
        if not len(good):
            raise InputError(
                f"pairs: expected images that the spectrograph can use, got none among rows "
                f"{chosen[0]} to {chosen[-1]} of {pairs.path}"
            )
        draws = _draws([drawn[i] for i in good], lsf, settings.n_processes)
        flux, _ = reference_spectra(pairs, chosen[good])
        z = redshift[chosen[good]]
        found = _numbers(draws, flux, z, lsf)
        found |= _calibration(draws, flux, z, chosen[good], pairs, settings)
        found |= _ranking(draws, flux, z)
        usable = [images[i] for i in good]
        found["ood_score"] = np.asarray(spectrograph.ood_score(usable), float)
        found |= _density(spectrograph, usable)
        found = scattered(found, good, len(rows))
        found["usable"] = np.isin(np.arange(len(rows)), good)
        if (rows < settings.n_measured).any():
            few = good[rows[good] < settings.n_measured]
            ranked = draws.ranked(settings.n_set)
            values = measure_spectra(
                ranked.flux[: len(few)],
                ranked.redshift[: len(few)],
                lsf,
                method=settings.method,
                n_processes=settings.n_processes,
            )
            values = {"measured": np.stack([values[name] for name in QUANTITIES], axis=-1)}
            found |= scattered(values, few, int((rows < settings.n_measured).sum()))
        if rows[0] < N_EXAMPLES:
            found |= scattered(_examples(draws), good, len(rows))
        return found

    return collect(measure, len(index), store, progress=settings.progress, description="draw")


def _numbers(draws, truth, z, lsf):
    """Return redshifts, errors per pixel, colours."""
    found = {
        "redshift": draws.redshift,
        "similarity": draws.similarity,
        "mode": density_mode(draws.redshift),
        "best": draws.best.astype(float),
        "expected": draws.expected,
    }
    answers = {
        "best": draws.of_best(),
        "one": draws.flux[:, 0],
        "mean": mean_spectrum(draws.flux),
    }
    for name, flux in answers.items():
        errors = pixel_errors(flux, truth, z)
        found[f"{name}_errors"] = np.stack([errors[m] for m in _MEASURES], axis=1)
        found[f"{name}_bins"] = binned_errors(flux, truth)
    for name in ("best", "mean"):
        place = draws.of_best("redshift") if name == "best" else np.median(draws.redshift, axis=1)
        numbers = spectrum_numbers(answers[name], place, lsf)
        found |= {f"{name}_{key}": value for key, value in numbers.items()}
    return found


def _calibration(draws, truth, z, rows, pairs, settings):
    """Return the ranks of the truth among all and among the most similar candidates; coverage."""
    low, high = settings.redshift_range
    pixels = np.sort(
        np.random.default_rng(settings.seed).choice(truth.shape[1], N_PIXELS, replace=False)
    )
    # Points to measure distances from are the truths of other galaxies, chosen for each alone.
    other = np.array([_another(settings.seed, row, len(pairs)) for row in rows])
    far, _ = reference_spectra(pairs, other)
    far_z = np.asarray(pairs.object["redshift"], float)[other]
    level = np.nanmean(truth, axis=1, keepdims=True)
    found = {}
    few = max(2, settings.n_candidates // 4)
    for name, some in (("all", draws), ("similar", draws.most_similar(few))):
        relative = some.flux[:, :, pixels] / some.flux.mean(axis=2, keepdims=True)
        relative = relative * level[:, None]
        # The truths were chosen by redshift; where they cannot lie, candidates do not count.
        counts = (some.redshift > low) & (some.redshift < high)
        options = {"counts": counts, "seed": [settings.seed, int(rows[0])]}
        found[f"{name}_pit_redshift"] = pit(some.redshift, z, **options)
        found[f"{name}_pit_pixels"] = np.stack(
            [pit(relative[:, :, i], truth[:, p], **options) for i, p in enumerate(pixels)], axis=1
        ).astype(np.float32)
        found[f"{name}_coverage_redshift"] = coverage(
            some.redshift[..., None], z[:, None], reference=far_z[:, None], **options
        )
        found[f"{name}_coverage_spectra"] = coverage(
            base_spectra(some.flux), base_spectra(truth), reference=base_spectra(far), **options
        )
    return found


def _another(seed, row, n):
    """Return the number of another pair, for a row whatever others are used."""
    return (row + 1 + np.random.default_rng([seed, int(row)]).integers(n - 1)) % n


def _ranking(draws, truth, z):
    found = []
    for redshift, flux in choices(draws).values():
        errors = pixel_errors(flux, truth, z)
        found.append(np.stack([redshift, errors["continuum"], errors["line"]], axis=1))
    return {"ranking": np.stack(found, axis=1).astype(np.float32)}


def _density(spectrograph, images):
    if not getattr(spectrograph, "draws_redshifts", False):
        return {}
    density = spectrograph.redshift_density(images)
    return {f"density_{name}": getattr(density, name) for name in ("weight", "centre", "width")}


def _examples(draws):
    level = draws.flux.mean(axis=2, keepdims=True)
    low, high = np.percentile(draws.flux / level, [16, 84], axis=1)
    best = draws.of_best()
    values = low, high, best / best.mean(axis=1, keepdims=True)
    return {"example": np.stack(values, axis=1).astype(np.float32)}


def answers_of(name, found, *, prefix=""):
    """Return answers of a spectrograph, from what `measure_predictions` found.

    Parameters
    ----------
    name : str
        Of the spectrograph.
    found : dict of ndarray
    prefix : str
        Before the names of the answers, where there are several spectrographs.

    Returns
    -------
    list of Answer
    """
    from photospec.evaluation.properties import median_of_set

    redshift, rows = found["redshift"], np.arange(len(found["redshift"]))
    best = np.where(found["usable"], found["best"], 0).astype(int)
    of_best = redshift[rows, best]

    def errors(kind):
        return dict(zip(_MEASURES, found[f"{kind}_errors"].T, strict=True))

    def colours(kind):
        return {key: found[f"{kind}_{key}"] for key in ("g_r", "r_i", "dn4000")}

    measured = dict(zip(QUANTITIES, np.moveaxis(found["measured"], -1, 0), strict=True))
    made = [
        Answer(
            "best candidate",
            name,
            of_best,
            errors("best"),
            found["best_bins"],
            colours("best"),
            {key: values[:, 0] for key, values in measured.items()},
            main=True,
        ),
        Answer("one candidate, unranked", name, redshift[:, 0], errors("one"), found["one_bins"]),
        Answer(
            "candidate set: mean",
            name,
            np.mean(redshift, axis=1),
            errors("mean"),
            found["mean_bins"],
            colours("mean"),
            main=True,
        ),
    ]
    made.append(Answer("candidate set: peak of the density", name, found["mode"]))
    n_set = found["measured"].shape[1]
    usable = np.asarray(found["usable"], bool)
    set_median = median_of_set(measured) if n_set > 1 else None
    made.append(
        Answer(
            "candidate set: median",
            name,
            np.median(redshift, axis=1),
            measured=set_median,
        )
    )
    # Where an image could not be used there is no density; a broad one keeps the rows in order.
    candidates = Mixture.of_draws(np.where(usable[:, None], redshift, np.nanmedian(redshift)))
    density = candidates
    if "density_weight" in found:
        parts = [found[f"density_{key}"] for key in ("weight", "centre", "width")]
        parts = [np.where(usable[:, None], part, np.nanmedian(part, axis=0)) for part in parts]
        density = Mixture(*parts, logarithmic=True)
        made.append(Answer("candidates as a density", name, density=candidates))
    made.append(
        Answer(
            "mean of the density drawn from", name, found["expected"], density=density, main=True
        )
    )
    if prefix:
        made = [_renamed(answer, prefix) for answer in made]
    return made


def _renamed(answer, prefix):
    from dataclasses import replace

    return replace(answer, name=f"{prefix}: {answer.name}")
