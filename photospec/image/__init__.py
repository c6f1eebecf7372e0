"""Images: one gate through which any image enters, files, units, resampling, whole frames.

`read_image` turns files into `~astropy.nddata.NDData`; `prepare_image` turns any NDData
into the array that networks take, or says in one line why it cannot. Axes are
``(n_bands, ny, nx)`` with y up.
"""

from photospec.image.io import read_image
from photospec.image.prepare import ImageArray, prepare_image
from photospec.image.units import NANOMAGGY

__all__ = ["NANOMAGGY", "ImageArray", "prepare_image", "read_image"]
