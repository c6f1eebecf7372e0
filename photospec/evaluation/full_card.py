"""The whole model card in one call: tables, figures, and what they were made from."""

import json
from pathlib import Path

from photospec.evaluation import card_figures
from photospec.evaluation.on_pairs import Settings, pairs_card
from photospec.evaluation.ood import ood_card
from photospec.evaluation.photometry import photometry_card, read_catalogue
from photospec.evaluation.real_agn import real_agn
from photospec.evaluation.real_images import flagged_card, images_card, known_card
from photospec.evaluation.real_redshifts import real_redshifts
from photospec.evaluation.value import write_sections
from photospec.figures import save_figure
from photospec.pairs import PairsFile

__all__ = ["model_card"]

_FIGURES = {
    "redshifts": card_figures.plot_redshifts,
    "spectra": card_figures.plot_spectra,
    "properties": card_figures.plot_properties,
    "calibration": card_figures.plot_calibration,
    "ranking": card_figures.plot_ranking,
}
_N_ORDINARY = 1000


def model_card(
    spectrograph,
    pairs,
    training,
    folder,
    *,
    images=(),
    catalogue=None,
    real=None,
    classes=None,
    known=None,
    strange=None,
    settings=None,
    report=print,
):
    """Measure everything a model card says, and write it.

    Run it again after a stop: what was drawn, trained and measured lies in ``folder/cache``.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    pairs : path-like
        Simulated pairs of the default survey, never trained on.
    training : sequence of path-like
        Pairs files of the training; the baselines learn from them.
    folder : path-like
        Gets ``card.txt``, a ``.ecsv`` and a reStructuredText ``.inc`` per table, figures, and
        ``card.json`` with what it was made from.
    images : sequence of path-like
        Real images.
    catalogue : path-like, optional
        Real photometry and redshifts, see `photospec.evaluation.photometry.read_catalogue`.
    real : dict of str to (RealGalaxies, RealGalaxies), optional
        By the sample's name: galaxies never trained on, and others of the same catalogue, see
        `photospec.evaluation.real_redshifts`. Their tables come first.
    classes : (RealGalaxies, RealGalaxies), optional
        With kinds, never trained on and others, see `photospec.evaluation.real_agn`.
    known, strange : dict, optional
        See `photospec.evaluation.real_images.known_card` and `flagged_card`.
    settings : Settings, optional
    report : callable
        Is given each table as soon as it is there.

    Returns
    -------
    list of Section
    """
    folder, settings = Path(folder), settings or Settings()
    cache, sections = folder / "cache", []

    def add(*more):
        sections.extend(more)
        for section in more:
            report(str(section))
        write_sections(sections, folder)

    for number, (title, (galaxies, others)) in enumerate((real or {}).items()):
        add(
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
        add(known_card(spectrograph, known))
    if strange:
        add(flagged_card(spectrograph, strange))
    if classes is not None:
        n_candidates = settings.n_candidates
        add(real_agn(spectrograph, *classes, n_candidates=n_candidates, folder=cache))
    with PairsFile(pairs, bands=spectrograph.config.bands) as file:
        card = pairs_card(spectrograph, file, training, settings, folder=cache)
        add(*card.sections)
        for name, plot in _FIGURES.items():
            save_figure([plot(card)], folder / f"{name}.png", dpi=90)
        ordinary = file.image(slice(0, _N_ORDINARY))
    if tuple(spectrograph.config.bands) == tuple("ugriz"):
        add(ood_card(spectrograph, ordinary, seed=settings.seed, folder=cache))
    if images:
        add(images_card(spectrograph, images, seed=settings.seed))
    if catalogue is not None:
        real = read_catalogue(
            catalogue, redshift_range=settings.redshift_range, r_limit=settings.r_limit
        )
        add(photometry_card(spectrograph, real, training, settings, folder=cache, simulated=card))
    (folder / "card.json").write_text(
        json.dumps(
            {
                "weights": spectrograph.config.provenance,
                "pairs": Path(pairs).name,
                "training": [Path(path).name for path in training],
                "settings": vars(settings),
                "galaxies": len(card.draws),
            },
            indent=1,
            default=str,
        )
    )
    return sections
