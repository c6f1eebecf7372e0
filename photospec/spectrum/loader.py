"""Readers of our own files for specutils, and so for all programs that read spectra with it.

Importing this module registers them, and `photospec.spectrum` does. specutils asks no
entry points for readers: a program that never imports photospec finds them by a line in
``~/.specutils``, see :doc:`files`.
"""

import os

from specutils import Spectrum, SpectrumList
from specutils.io.parsing_utils import read_fileobj_or_hdulist
from specutils.io.registers import data_loader

from photospec.spectrum.own_files import is_own, own_spectra, own_spectrum

__all__ = ["FORMAT_NAME", "read_list", "read_one"]

#: Name of the format in specutils.
FORMAT_NAME = "photospec"
# Above tabular-fits (6) and all others, which would take our tables for theirs.
_PRIORITY = 20


def _identify(origin, *args, **kwargs):
    """Tell whether a file is one of ours; specutils passes (path, file object or None, ...)."""
    if origin != "read" or not args:
        return False
    name = args[0]
    if isinstance(name, str | os.PathLike) and not os.path.isfile(name):
        return False
    with read_fileobj_or_hdulist(*args) as hdus:
        return is_own(hdus)


@data_loader(
    FORMAT_NAME,
    identifier=_identify,
    dtype=Spectrum,
    extensions=["fits"],
    priority=_PRIORITY,
    force=True,
    autogenerate_spectrumlist=False,
)
def read_one(file_obj, **kwargs):
    """Read a file of one spectrum, or all spectra of a file as one Spectrum (n, n_wave).

    Parameters
    ----------
    file_obj : path, file object or astropy.io.fits.HDUList
    **kwargs
        What programs give to the readers of other formats; not used.

    Returns
    -------
    specutils.Spectrum
    """
    with read_fileobj_or_hdulist(file_obj) as hdus:
        found = own_spectrum(hdus)
    if found.flux.ndim == 2 and len(found.flux) == 1:
        return own_spectra(found)[0]
    if found.uncertainty is None and "spread" in found.meta:
        from astropy.nddata import StdDevUncertainty

        found.uncertainty = StdDevUncertainty(found.meta["spread"])
    return found


@data_loader(
    FORMAT_NAME,
    identifier=_identify,
    dtype=SpectrumList,
    extensions=["fits"],
    priority=_PRIORITY,
    force=True,
)
def read_list(file_obj, **kwargs):
    """Read each spectrum of a file for itself.

    Parameters
    ----------
    file_obj : path, file object or astropy.io.fits.HDUList
    **kwargs
        What programs give to the readers of other formats; not used.

    Returns
    -------
    specutils.SpectrumList
    """
    with read_fileobj_or_hdulist(file_obj) as hdus:
        return SpectrumList(own_spectra(own_spectrum(hdus)))
