"""The SDSS: a catalogue from SkyServer, corrected frames, spectra, and the pairs made of them.

In the order of a download: `settings` say what is asked for, `catalogue` lists the galaxies,
`addresses` know where files lie, `fields` fetches frames and spectra and cuts the galaxies
out, `store` remembers how far it is, `assemble` makes pairs, and `download` runs it all;
`image` cuts out any one place.
"""

from importlib import import_module

from photospec.utils.optional import optional_imports

__all__ = [
    "IDENTIFIERS",
    "MEASUREMENTS",
    "PHOTOMETRY",
    "DownloadConfig",
    "DownloadReport",
    "sdss_image",
]

# Loaded on first use: astroquery and specutils take seconds.
_LAZY = {
    "IDENTIFIERS": "catalogue",
    "MEASUREMENTS": "catalogue",
    "PHOTOMETRY": "catalogue",
    "DownloadConfig": "settings",
    "DownloadReport": "download",
    "sdss_image": "image",
}


def __getattr__(name):
    if name in _LAZY:
        with optional_imports():
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
