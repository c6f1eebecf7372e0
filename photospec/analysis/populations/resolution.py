"""Templates brought to the pixels and the line-spread function of a spectrum.

With the instrument's line-spread function sigma_d, that of the templates sigma_t and
the galaxy's dispersion sigma, a spectrum is its template convolved by
sigma_d^2 - sigma_t^2 + sigma^2, all in km/s and the first two functions of wavelength.
pPXF fits one constant, so the templates are first convolved by the varying part,

    kernel^2 = sigma_d^2 - sigma_t^2 + floor^2,   floor^2 = max(0, -min(sigma_d^2 - sigma_t^2)),

and what pPXF then finds is sigma^2 - floor^2. Where templates are sharper than the
data everywhere the floor is zero; where they are not (MILES below 4300 Angstrom
against SDSS), nothing is clipped, and dispersions below the floor are out of reach.
Compare Cappellari (2017, MNRAS 466, 798), section 2.2, where the difference is clipped.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import erf

from photospec.analysis.populations.templates import LOG_STEP, TemplateSet
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["MatchedTemplates", "match_templates", "resampling_matrix"]

# Templates reach beyond the spectrum at either end: pPXF shifts them by up to 800 km/s (`V_RANGE`
# of `kinematics`) and asks for 900 km/s more for their convolution.
PAD_VELOCITY = 1700.0
LEAST_PAD = 40  # pixels


@dataclass(frozen=True)
class MatchedTemplates:
    """Templates on the pixels of one spectrum, with its line-spread function.

    Attributes
    ----------
    templates : TemplateSet
        What they were made of.
    wavelength : ndarray, shape (n_pixels + 2 n_pad,)
        Rest vacuum wavelength of the pixels, Angstrom.
    basis : ndarray, shape (n_pixels + 2 n_pad, n_basis)
        ``basis @ templates.coefficients`` are the spectra.
    floor : float
        Dispersion already in the templates beyond the instrument's, km/s.
    n_pad : int
        Pixels beyond the spectrum at either end.
    """

    templates: TemplateSet
    wavelength: np.ndarray
    basis: np.ndarray
    floor: float
    n_pad: int = LEAST_PAD


def match_templates(templates, wavelength, lsf_sigma, fitted):
    """Convolve and rebin templates for one spectrum.

    Parameters
    ----------
    templates : TemplateSet
    wavelength : ndarray, shape (n_pixels,)
        Rest vacuum wavelength of the spectrum, Angstrom, uniform in its logarithm.
    lsf_sigma : ndarray, shape (n_pixels,) or None
        Rest-frame standard deviation of the line-spread function, Angstrom;
        None leaves the resolution of the templates alone.
    fitted : ndarray of bool, shape (n_pixels,)
        Pixels whose resolution counts for the floor.

    Returns
    -------
    MatchedTemplates
    """
    step = np.log(wavelength[-1] / wavelength[0]) / (wavelength.size - 1)
    n_pad = max(LEAST_PAD, int(np.ceil(PAD_VELOCITY / SPEED_OF_LIGHT / step)) + 1)
    ln_wave = np.log(wavelength[0]) + step * np.arange(-n_pad, wavelength.size + n_pad)
    wave = np.exp(ln_wave)
    if lsf_sigma is None:
        kernel, floor = np.zeros(wave.size), 0.0
    else:
        own = np.interp(wave, templates.wavelength, templates.lsf_sigma)
        difference = (np.interp(wave, wavelength, lsf_sigma) ** 2 - own**2) * (
            SPEED_OF_LIGHT / wave
        ) ** 2
        lowest = difference[n_pad:-n_pad][fitted].min() if fitted.any() else 0.0
        floor = np.sqrt(max(0.0, -lowest))
        kernel = np.sqrt((difference + floor**2).clip(0))
    matrix = resampling_matrix(ln_wave, step, kernel / SPEED_OF_LIGHT, templates.wavelength)
    return MatchedTemplates(templates, wave, matrix @ templates.basis, float(floor), n_pad)


def resampling_matrix(ln_wave, step, kernel, fine_wavelength):
    """Return a sparse matrix (n_out, n_fine): Gaussian kernel of given sigma (in ln), mean over
    pixels.
    """
    position = (ln_wave - np.log(fine_wavelength[0])) / LOG_STEP
    # Below half a fine pixel a Gaussian cannot be told from none.
    sigma = np.maximum(kernel / LOG_STEP, 0.5)[:, None]
    half = 0.5 * step / LOG_STEP
    reach = int(np.ceil(half + 4 * sigma.max()))
    index = np.round(position).astype(int)[:, None] + np.arange(-reach, reach + 1)
    distance = (index - position[:, None]) / (np.sqrt(2) * sigma)
    edge = half / (np.sqrt(2) * sigma)
    value = erf(distance + edge) - erf(distance - edge)
    # Beyond the templates their first or last pixel is repeated; such pixels are not fitted.
    value /= value.sum(1, keepdims=True)
    index = index.clip(0, fine_wavelength.size - 1)
    rows = np.arange(0, index.size + 1, index.shape[1])
    return csr_array(
        (value.ravel(), index.ravel(), rows), shape=(ln_wave.size, fine_wavelength.size)
    )
