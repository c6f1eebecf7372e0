"""Galaxies from public archives: catalogue, images, spectra, and pairs of both.

Readers give `ArchiveObject`, one after another; `write_objects` makes pairs of them. The SDSS
is downloaded by `download`. `SURVEYS` give an image of any place.
"""

from importlib import import_module

from photospec.utils.optional import optional_imports

__all__ = [
    "SURVEYS",
    "ArchiveObject",
    "DownloadConfig",
    "DownloadReport",
    "download",
    "join",
    "legacy_image",
    "read_desi",
    "read_hats",
    "read_legacy",
    "read_multimodal",
    "register_survey",
    "sdss_image",
    "survey_image",
    "write_objects",
]

# Loaded on first use: astroquery and specutils take seconds.
_LAZY = {
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


def __getattr__(name):
    if name in _LAZY:
        with optional_imports():
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
