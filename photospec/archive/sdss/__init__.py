"""The SDSS: a catalogue from SkyServer, corrected frames, spectra, and the pairs made of them.

In the order of a download: `settings` say what is asked for, `catalogue` lists the galaxies,
`addresses` know where files lie, `fields` fetches frames and spectra and cuts the galaxies
out, `store` remembers how far it is, `assemble` makes pairs, and `download` runs it all;
`image` cuts out any one place.
"""

from photospec.utils.optional import lazy_names

# Loaded on first use: astroquery and specutils take seconds.
_HOMES = {
    "IDENTIFIERS": "catalogue",
    "MEASUREMENTS": "catalogue",
    "PHOTOMETRY": "catalogue",
    "DownloadConfig": "settings",
    "DownloadReport": "download",
    "sdss_image": "image",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
