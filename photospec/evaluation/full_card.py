"""The whole model card in one call: tables, figures, and what they were made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from photospec.evaluation.on_pairs import Settings, compare_pairs
from photospec.evaluation.ood import ood_card
from photospec.evaluation.page import write_page
from photospec.evaluation.parts import Chapter
from photospec.evaluation.photometry import photometry_card, read_catalogue
from photospec.evaluation.real_agn import real_agn
from photospec.evaluation.real_images import flagged_card, images_card, known_card
from photospec.evaluation.real_redshifts import real_redshifts
from photospec.evaluation.reporting import chapters_of, provenance_of
from photospec.evaluation.value import write_sections
from photospec.figures import save_figure
from photospec.pairs import PairsFile
from photospec.utils.files import replacing

if TYPE_CHECKING:
    from photospec.evaluation.value import Section
    from photospec.simulation import RealGalaxies
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["model_card"]

# Figures that the documentation shows.
_FIGURES = ("redshifts", "spectra", "properties", "calibration", "ranking")
_N_ORDINARY = 1000  # galaxies that the flags of others are compared with: 1 % is ten of them


def model_card(
    spectrograph: PhotoSpectrograph,
    pairs: str | PathLike,
    training: Sequence[str | PathLike],
    folder: str | PathLike,
    *,
    images: Sequence[str | PathLike] = (),
    catalogue: str | PathLike | None = None,
    real: Mapping[str, tuple[RealGalaxies, RealGalaxies]] | None = None,
    classes: tuple[RealGalaxies, RealGalaxies] | None = None,
    known: dict | None = None,
    strange: dict | None = None,
    settings: Settings | None = None,
    report: Callable[[Section], object] = print,
) -> list[Section]:
    """Measure everything a model card says, and write it.

    The chapters of `photospec.evaluation.report` on simulated pairs, and beside them real galaxies.
    Run it again after a stop: what was drawn, trained and measured lies in ``folder/cache``.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    pairs : path-like
        Simulated pairs of the default survey, never trained on.
    training : sequence of path-like
        Pairs files of the training; the baselines learn from them.
    folder : path-like
        Gets the page ``card.html``, ``card.txt``, a ``.ecsv`` and a reStructuredText ``.inc`` per
        table, figures (``.pdf``, and ``.png`` of those that the documentation shows), and
        ``card.json`` with what it was made from.
    images : sequence of path-like
        Real images.
    catalogue : path-like, optional
        Real photometry and redshifts, see ``photospec.evaluation.photometry.read_catalogue``.
    real : dict of str to (RealGalaxies, RealGalaxies), optional
        By the sample's name: galaxies never trained on, and others of the same catalogue, see
        ``photospec.evaluation.real_redshifts``. Their tables come first.
    classes : (RealGalaxies, RealGalaxies), optional
        With kinds, never trained on and others, see ``photospec.evaluation.real_agn``.
    known, strange : dict, optional
        See ``photospec.evaluation.real_images.known_card`` and ``flagged_card``.
    settings : Settings, optional
        By default `Settings.of_card`.
    report : callable
        Is given each table as soon as it is there.

    Returns
    -------
    list of Section
    """
    folder, settings = Path(folder), settings or Settings.of_card()
    cache, sections = folder / "cache", []

    def add(*more):
        sections.extend(more)
        for section in more:
            report(str(section))
        write_sections(sections, folder)
        return list(more)

    of_real = []
    for number, (title, (galaxies, others)) in enumerate((real or {}).items()):
        of_real += add(
            real_redshifts(
                spectrograph,
                galaxies,
                others,
                seed=settings.seed,
                title=f"Redshift, real galaxies: {title}",
                name=f"real_redshift_{number}",
            )
        )
    if known:
        of_real += add(known_card(spectrograph, known))
    if strange:
        of_real += add(flagged_card(spectrograph, strange))
    if classes is not None:
        n_candidates = settings.n_candidates
        of_real += add(real_agn(spectrograph, *classes, n_candidates=n_candidates, folder=cache))
    unusual = []
    with PairsFile(pairs, bands=spectrograph.config.bands) as file:
        comparison = compare_pairs({"photospec": spectrograph}, file, training, settings,
                                   folder=cache)  # fmt: skip
        ordinary = file.image(slice(0, _N_ORDINARY))
    if settings.n_unusual and tuple(spectrograph.config.bands) == tuple("ugriz"):
        unusual = [
            ood_card(spectrograph, ordinary, n=settings.n_unusual, seed=settings.seed, folder=cache)
        ]
    chapters = chapters_of(comparison, unusual=unusual)
    add(*(section for chapter in chapters for section in chapter.sections))
    if images:
        of_real += add(images_card(spectrograph, images, seed=settings.seed))
    if catalogue is not None:
        galaxies = read_catalogue(
            catalogue, redshift_range=settings.redshift_range, r_limit=settings.r_limit
        )
        of_real += add(
            photometry_card(
                spectrograph, galaxies, training, settings, folder=cache, simulated=comparison
            )
        )
    if of_real:
        text = "Images rendered with the fluxes of real galaxies, and real images."
        chapters.insert(0, Chapter("real", "Real galaxies", text, of_real))
    _write_figures(chapters, folder)
    write_page(
        folder / "card.html",
        chapters,
        provenance_of(comparison),
        title="Model card",
        subtitle=f"{len(comparison)} galaxies of {comparison.pairs['name']}, {settings.sample}; "
        f"{settings.n_candidates} candidates each.",
    )
    (folder / "card.json").write_text(
        json.dumps(
            {
                "weights": spectrograph.config.provenance,
                "pairs": Path(pairs).name,
                "training": [Path(path).name for path in training],
                "settings": vars(settings),
                "galaxies": len(comparison),
            },
            indent=1,
            default=str,
        )
    )
    return sections


def _write_figures(chapters, folder):
    plots = {plot.name: plot for chapter in chapters for plot in chapter.plots}
    for name in _FIGURES:
        with replacing(folder / f"{name}.png") as temporary:
            save_figure([plots[name].figure()], temporary, dpi=90)
