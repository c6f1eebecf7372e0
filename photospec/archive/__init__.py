"""Galaxies from public archives: catalogue, images, spectra, and pairs of both."""

from importlib import import_module

__all__ = ["DownloadConfig", "DownloadReport", "download", "sdss_image"]

# Loaded on first use: astroquery and specutils take seconds.
_LAZY = {
    "DownloadConfig": "sdss.settings",
    "DownloadReport": "sdss.download",
    "download": "sdss.download",
    "sdss_image": "sdss.position",
}


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
