"""What enters the networks: spectra put in order, prepared images checked."""

import numpy as np

from photospec.errors import InputError
from photospec.spectrum import WAVELENGTH, SpectrumArrays, to_arrays, to_training_grid

__all__ = ["check_image", "spectra_for_networks"]


def check_image(image, bands, pixel_scale, size):
    """Make sure that a prepared image was prepared for these networks.

    Parameters
    ----------
    image : ImageArray
    bands : tuple of str
    pixel_scale : float
        Arcsec.
    size : int
        Pixels.

    Raises
    ------
    InputError
        If bands, shape or pixel scale differ, or pixels are not finite.
    """
    shape = (len(bands), size, size)
    if tuple(image.bands) != tuple(bands) or image.data.shape != shape:
        raise InputError(
            f"image: expected bands {','.join(bands)} and shape {shape}, got "
            f"{','.join(image.bands)} and {image.data.shape}; was it prepared for other weights?"
        )
    if not np.isclose(image.pixel_scale, pixel_scale, rtol=0.005):
        raise InputError(
            f"image: expected {pixel_scale} arcsec per pixel, got {image.pixel_scale}; was it "
            "prepared for other weights?"
        )
    if not np.isfinite(image.data).all():
        raise InputError("image: expected bad pixels to be filled, got some that are not")


def spectra_for_networks(spectrum):
    """Put spectra on the training grid, bad samples bridged, divided by their mean.

    Parameters
    ----------
    spectrum : specutils.Spectrum or SpectrumArrays
        One or n spectra that cover 4000 to 8499 Angstrom in the observed frame. On another
        grid than `photospec.spectrum.WAVELENGTH` they are smoothed as the training spectra.

    Returns
    -------
    ndarray (n, 4500) of float32

    Raises
    ------
    InputError
        If spectra do not cover the grid or have no light.
    """
    arrays = spectrum if isinstance(spectrum, SpectrumArrays) else to_arrays(spectrum)
    flux, wavelength = arrays.flux, arrays.wavelength
    bad = arrays.mask | ~np.isfinite(flux)
    if bad.any():
        flux = flux.astype(float)
        for row, hidden in zip(flux, bad):
            if not hidden.all():
                row[hidden] = np.interp(wavelength[hidden], wavelength[~hidden], row[~hidden])
    if not np.array_equal(wavelength, WAVELENGTH):
        flux = to_training_grid(wavelength, flux)
    level = flux.mean(axis=-1)
    if not np.all(level > 0):
        worst = int(np.flatnonzero(~(level > 0))[0])
        raise InputError(
            f"spectrum: expected light, got a mean flux of {level[worst]:.3g} in spectrum "
            f"number {worst} of {len(flux)}; is all of it masked?"
        )
    return np.ascontiguousarray(flux / level[:, None], dtype=np.float32)
