"""The Milky Way's dust in training: images and spectra corrected as users' images are.

The gate corrects an image by the E(B-V) it is told, which has an error; so training is told one
with an error too, and sometimes none. Image and spectrum are corrected by the same number, so that
the error cancels in a prediction: it is reddened by that number again.
"""

import numpy as np

from photospec.dust import (
    ASSUMED_EBV,
    band_extinction,
    galactic_transmission,
    response_extinction,
    transmission,
)
from photospec.errors import InputError
from photospec.spectrum import WAVELENGTH

__all__ = [
    "correct_flux",
    "correct_image",
    "corrected_images",
    "file_extinction",
    "galactic_ebv",
    "told_ebv",
]


def galactic_ebv(file):
    """Return E(B-V) (n,) of the pairs of a file, mag: ``object/galactic_ebv``; assumed where
    missing.

    Raises
    ------
    InputError
        Negative or absurd numbers.
    """
    if "galactic_ebv" not in file.object.colnames:
        return np.full(len(file), ASSUMED_EBV)
    ebv = np.ma.filled(np.ma.asarray(file.object["galactic_ebv"]).astype(float), np.nan)
    if np.any(ebv < 0) or np.any(ebv > 5):
        raise InputError(
            f"pairs: expected object/galactic_ebv from 0 to 5 mag, got {np.nanmin(ebv):.3g} to "
            f"{np.nanmax(ebv):.3g} in {file.path}"
        )
    return np.where(np.isfinite(ebv), ebv, ASSUMED_EBV)


def told_ebv(ebv, data, rng):
    """Return E(B-V) (n,) as the gate would know it: with errors, and missing for some.

    Parameters
    ----------
    ebv : ndarray (n,)
    data : DataSettings
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (n,)
    """
    relative, absolute = rng.standard_normal((2, len(ebv)))
    told = ebv * (1 + data.ebv_relative_error * relative) + data.ebv_error * absolute
    unknown = rng.random(len(ebv)) < data.ebv_unknown
    return np.where(unknown, ASSUMED_EBV, np.maximum(told, 0.0))


def file_extinction(file):
    """Return the A_band / E(B-V) (n_bands,) of the bands of a pairs file.

    What the survey said that its pairs were simulated with, else that of SDSS bands.
    """
    survey = file.provenance.get("survey")
    if not isinstance(survey, dict) or "responses" not in survey:
        return band_extinction(file.bands)
    known = survey.get("extinction") or [response_extinction(r) for r in survey["responses"]]
    return np.array(known, float)


def correct_image(image, ebv, extinction):
    """Correct images (n, n_bands, ny, nx) for the Milky Way's dust of E(B-V) (n,).

    `extinction` (n_bands,) is that of each band over E(B-V), see `file_extinction`.
    """
    factor = transmission(extinction, -np.asarray(ebv))
    return image * factor[..., None, None].astype(np.float32)


def correct_flux(flux, ebv):
    """Correct spectra (n, n_wave) on the training grid for it."""
    factor = galactic_transmission(WAVELENGTH, -np.asarray(ebv))
    return flux * factor.astype(np.float32)


def corrected_images(file, index):
    """Return images of a pairs file, without the Milky Way's dust."""
    return correct_image(file.image(index), galactic_ebv(file)[index], file_extinction(file))
