"""Does a predicted spectrum have the colours of its image?"""

from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from specutils import Spectrum

from photospec.image import ImageArray
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.spectrum import FIBRE_RADIUS, to_arrays

__all__ = ["compare_colours"]

#: Bands that the spectra cover in good part.
_BANDS = ("g", "r", "i")


def compare_colours(images: Sequence[ImageArray], spectra: Spectrum) -> Table:
    """Compare the colours within the fibre, of images and of the spectra predicted from them.

    The spectrum's band flux is over the part of the band that it covers.

    Parameters
    ----------
    images : sequence of ImageArray
        As `PhotoSpectrograph.prepare` gives them.
    spectra : specutils.Spectrum
        Flux (n_images, n_wave).

    Returns
    -------
    astropy.table.Table
        One row per image: ``image_g_r``, ``spectrum_g_r``, ``d_g_r``, the same for r-i (mag),
        and ``image_r``, the fibre magnitude.
    """
    arrays = to_arrays(spectra)
    of_spectrum = band_flux(arrays.wavelength, arrays.flux, _BANDS, partial=True)
    rows = [[image.bands.index(b) for b in _BANDS] for image in images]
    of_image = np.array(
        [
            aperture_flux(image.data[row], FIBRE_RADIUS, pixel_scale=image.pixel_scale)
            for image, row in zip(images, rows, strict=True)
        ]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = {
            "image": 22.5 - 2.5 * np.log10(of_image),
            "spectrum": 22.5 - 2.5 * np.log10(of_spectrum),
        }
    table = Table({"image_r": magnitude["image"][:, 1]})
    for name, first in (("g_r", 0), ("r_i", 1)):
        for source, m in magnitude.items():
            table[f"{source}_{name}"] = m[:, first] - m[:, first + 1]
        table[f"d_{name}"] = table[f"spectrum_{name}"] - table[f"image_{name}"]
    return table
