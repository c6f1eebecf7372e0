"""Surveys that give an image of any place on the sky, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from photospec.utils.registry import Registry

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.nddata import NDData

__all__ = ["SURVEYS", "register_survey", "survey_image"]

#: Functions by name that take a position (and keywords of their own) and give an NDData.
SURVEYS = Registry("survey")
SURVEYS.register("sdss", "photospec.archive.sdss.image:sdss_image")
SURVEYS.register("legacy", "photospec.archive.legacy:legacy_image")


def register_survey(name: str, fetch: Callable | None = None) -> Callable:
    """Add a survey to `SURVEYS`; works as a decorator too.

    Parameters
    ----------
    name : str
        What users call it.
    fetch : callable, optional
        ``fetch(coord, **options)`` gives an NDData ``(n_bands, ny, nx)`` with a flux unit,
        ``meta["bands"]`` and a WCS, as `photospec.image.prepare_image` takes it. ``coord`` is a
        SkyCoord or a pair of degrees; `photospec.image.sky_position` reads both.

    Returns
    -------
    callable
        `fetch`, or a decorator where it was not given.

    Raises
    ------
    InputError
        If the name is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.nddata import NDData
    >>> from photospec.archive import SURVEYS, register_survey, survey_image
    >>> @register_survey("flat")
    ... def flat_image(coord, size=64):
    ...     meta = {"bands": "r", "pixel_scale": 0.4 * u.arcsec}
    ...     return NDData(np.ones((1, size, size)), unit=u.nmgy, meta=meta)
    >>> survey_image((150.0, 2.0), "flat", size=32).data.shape
    (1, 32, 32)
    >>> del SURVEYS["flat"]
    """
    if fetch is None:
        return lambda function: register_survey(name, function)
    SURVEYS.register(name, fetch)
    return fetch


def survey_image(
    coord: SkyCoord | tuple[float, float], survey: str = "sdss", **options: object
) -> NDData:
    """Fetch the image of a place from a survey.

    Parameters
    ----------
    coord : SkyCoord or (float, float)
        One position; a pair is right ascension and declination in degrees (ICRS).
    survey : str
        A name in `SURVEYS`.
    **options
        Of the survey's function, such as ``size``.

    Returns
    -------
    NDData
        (n_bands, ny, nx).

    Raises
    ------
    InputError
        There is no such survey, or it has no image of this place.
    """
    return SURVEYS.get(survey)(coord, **options)
