"""The evaluation report: everything that can be said of spectrographs on pairs, as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from photospec.errors import InputError
from photospec.evaluation.chapters import (
    agn,
    calibration,
    densities,
    ood,
    properties,
    ranking,
    redshift,
    spectra,
)
from photospec.evaluation.chapters import subsets as subsets_chapter
from photospec.evaluation.on_pairs import Settings, compare_pairs
from photospec.evaluation.ood import ood_card
from photospec.evaluation.page import write_page
from photospec.pairs import PairsFile

if TYPE_CHECKING:
    from photospec.evaluation.on_pairs import Comparison
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["chapters_of", "provenance_of", "report"]

_N_ORDINARY = 1000  # galaxies that the flags of others are compared with: 1 % is ten of them


def report(
    spectrographs: PhotoSpectrograph | Mapping[str, PhotoSpectrograph],
    pairs: str | PathLike,
    path: str | PathLike,
    *,
    training: Sequence[str | PathLike] = (),
    subsets: Sequence[str] = (),
    settings: Settings | None = None,
    folder: str | PathLike | None = None,
) -> Comparison:
    """Compare spectrographs and baselines on pairs, and write all of it as one HTML page.

    Run it again after a stop, or with more pairs: what was drawn, trained and measured lies in
    ``folder/cache``, in chunks that are there in full or not at all. Memory holds one chunk of
    spectra and some kilobytes of numbers for each pair.

    Parameters
    ----------
    spectrographs : PhotoSpectrograph, or dict of str to PhotoSpectrograph
        By name, to compare several.
    pairs : path-like
        Pairs file, simulated or observed, that none of them was trained on.
    path : path-like
        The page, ``.html``.
    training : sequence of path-like
        Pairs files that the spectrographs learned from; the baselines learn from them. Without,
        they learn from other galaxies of `pairs`, and the direct regression is left out.
    subsets : sequence of str
        Columns of the pairs by which the main numbers are given.
    settings : Settings, optional
    folder : path-like, optional
        Gets tables (``.ecsv``), figures (``.pdf``) and the cache; by default the page's name
        without its ending.

    Returns
    -------
    Comparison
        What the page was made of.

    Raises
    ------
    InputError
        No galaxies in the ranges asked for; other bands or wavelengths; a subset by a column that
        does not exist; a package of the extra ``report`` missing.

    Examples
    --------
    >>> from photospec import PhotoSpectrograph
    >>> from photospec.evaluation import report
    >>> spectrograph = PhotoSpectrograph.load()  # doctest: +SKIP
    >>> comparison = report(spectrograph, "test.h5", "report.html")  # doctest: +SKIP
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_suffix("") if folder is None else Path(folder)
    if not isinstance(spectrographs, Mapping):
        spectrographs = {_name(spectrographs): spectrographs}
    settings = settings or Settings()
    bands = next(iter(spectrographs.values())).config.bands
    with PairsFile(pairs, bands=bands) as file:
        _check_subsets(file, subsets)
        comparison = compare_pairs(spectrographs, file, training, settings, folder=folder / "cache")
        unusual = _unusual(spectrographs, file, comparison)
    chapters = chapters_of(comparison, subsets=subsets, unusual=unusual)
    names = ", ".join(spectrographs)
    write_page(
        path,
        chapters,
        provenance_of(comparison),
        title=f"{names} on {comparison.pairs['name']}",
        subtitle=f"{len(comparison)} galaxies, {settings.sample}; {settings.n_candidates} "
        "candidates each. Every number with its bootstrap error; baselines on the same galaxies.",
        folder=folder,
    )
    return comparison


def _name(spectrograph):
    return Path(getattr(spectrograph, "name", "photospec")).name


def _check_subsets(file, names):
    known = {*file.object.colnames, *file.truth.colnames, "magnitude", "colour"}
    for name in names:
        if name not in known:
            raise InputError(
                f"subsets: expected columns of the pairs, got {name!r}; {file.path.name} has "
                f"{', '.join(sorted(known))}"
            )


def _unusual(spectrographs, file, comparison):
    """Return tables of simulated images that no prediction should be trusted for."""
    n, made = comparison.settings.n_unusual, []
    if not n or tuple(file.bands) != tuple("ugriz"):
        return made
    for number, (name, spectrograph) in enumerate(spectrographs.items()):
        section = ood_card(
            spectrograph,
            file.image(comparison.index[:_N_ORDINARY]),
            n=n,
            seed=comparison.settings.seed,
            folder=comparison.store.folder,
            name="ood" if not number else f"ood_{number}",
            title="Images unlike the training" + (f": {name}" if len(spectrographs) > 1 else ""),
        )
        made.append(section)
    return made


def chapters_of(comparison, *, subsets=(), unusual=()):
    """Return all chapters of a comparison, list of `Chapter`.

    Parameters
    ----------
    comparison : Comparison
    subsets : sequence of str
        Columns of the pairs.
    unusual : sequence of Section
        See ``photospec.evaluation.chapters.ood``.
    """
    made = [
        redshift.chapter(comparison),
        densities.chapter(comparison),
        spectra.chapter(comparison),
        properties.chapter(comparison),
        agn.chapter(comparison),
        calibration.chapter(comparison),
        ood.chapter(comparison, unusual),
        ranking.chapter(comparison),
    ]
    if subsets:
        made.append(subsets_chapter.chapter(comparison, subsets))
    return made


def provenance_of(comparison):
    """Return what a comparison was made from, dict of dict: boxes of facts for the page."""
    settings = comparison.settings
    pairs = {
        "file": comparison.pairs["name"],
        "pairs": f"{len(comparison)} of {comparison.pairs['number']}: {settings.sample}",
        "truth": "simulated, noiseless" if comparison.pairs["simulated"] else "observed spectra",
        **comparison.pairs["provenance"],
    }
    training = comparison.pairs["training"]
    return {
        **{f"Spectrograph {name}": facts for name, facts in comparison.spectrographs.items()},
        "Pairs": pairs,
        "Settings": {
            "measured in full": f"{comparison.n_measured} galaxies, {settings.n_set} candidates "
            f"each, method {settings.method}",
            "baselines learn from": ", ".join(training)
            if training
            else "other galaxies of the same pairs (five parts)",
            "seed": str(settings.seed),
        },
    }
