"""Images: one gate through which any image enters, files, units, resampling, whole frames.

`read_image` turns files into `~astropy.nddata.NDData`; `prepare_image` turns any NDData
into the array that networks take, or says in one line why it cannot. Axes are
``(n_bands, ny, nx)`` with y up.
"""

from photospec.image.io import read_image, write_image
from photospec.image.prepare import ImageArray, prepare_image
from photospec.image.units import NANOMAGGY, band_names
from photospec.image.wcs import sky_position

__all__ = [
    "NANOMAGGY",
    "ImageArray",
    "band_names",
    "prepare_image",
    "read_image",
    "sky_position",
    "write_image",
]
