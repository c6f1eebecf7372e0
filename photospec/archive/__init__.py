"""Galaxies from public archives: catalogue, images, spectra, and pairs of both.

Readers give `ArchiveObject`, one after another; `write_objects` makes pairs of them. The SDSS
is downloaded by `download`. `SURVEYS` give an image of any place.
"""

from photospec.utils.optional import lazy_names

# Loaded on first use: astroquery and specutils take seconds.
_HOMES = {
    "SURVEYS": "surveys",
    "ArchiveObject": "objects",
    "DownloadConfig": "sdss.settings",
    "DownloadReport": "sdss.download",
    "download": "sdss.download",
    "join": "objects",
    "legacy_image": "legacy",
    "read_desi": "desi",
    "read_hats": "multimodal",
    "read_legacy": "legacy",
    "read_multimodal": "multimodal",
    "register_survey": "surveys",
    "sdss_image": "sdss.image",
    "survey_image": "surveys",
    "write_objects": "objects",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
