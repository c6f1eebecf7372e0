"""Equivalent width and width of strong lines of noiseless spectra, without a fit.

Moments of what rises above the straight line between two side bands: enough to compare
ways of drawing the same spectra, and nothing to publish.
"""

import numpy as np

from photospec.analysis import measure_redshift
from photospec.networks.scaling import N_FINE
from photospec.spectrum import WAVELENGTH, from_arrays

# rest wavelengths, Angstrom: line, blue and red side band
LINES = {
    "oiii": ((4994.0, 5022.0), (4970.0, 4992.0), (5024.0, 5046.0)),
    "ha_nii": ((6530.0, 6605.0), (6495.0, 6525.0), (6615.0, 6645.0)),
}
_LSF = 2.35  # Gaussian sigma of the training grid, Angstrom


def line_shapes(flux, lsf=_LSF):
    """Moments of lines in fluxes (n, N_FINE), at the redshifts that the spectra show.

    Returns
    -------
    dict of str to ndarray (n, n_lines)
        ``ew`` (rest, Angstrom, positive in emission), ``line_flux`` (unit of the spectrum times
        observed Angstrom) and ``width`` (standard deviation, rest, Angstrom; NaN below an
        ``ew`` of 3). NaN outside of the spectrum.
    """
    spectrum = from_arrays(WAVELENGTH, flux.astype(float), lsf=np.full(N_FINE, lsf))
    redshift = np.atleast_1d(measure_redshift(spectrum).redshift)
    return shapes_at(flux, redshift)


def shapes_at(flux, redshift):
    """As `line_shapes`, at known redshifts (n,)."""
    found = {key: np.full((len(flux), len(LINES)), np.nan) for key in ("ew", "line_flux", "width")}
    for i, (one, z) in enumerate(zip(flux, redshift, strict=True)):
        rest = WAVELENGTH / (1 + z)
        for j, (line, *sides) in enumerate(LINES.values()):
            if not rest[0] < sides[0][0] or not sides[1][1] < rest[-1]:
                continue
            level = [one[(rest >= low) & (rest <= high)].mean() for low, high in sides]
            continuum = np.interp(rest, [np.mean(side) for side in sides], level)
            inside = (rest >= line[0]) & (rest <= line[1])
            above = (one / continuum - 1)[inside]
            x, step = rest[inside], rest[1] - rest[0]
            found["ew"][i, j] = above.sum() * step
            found["line_flux"][i, j] = (one - continuum)[inside].sum()
            if found["ew"][i, j] > 3:
                centre = (x * above).sum() / above.sum()
                variance = ((x - centre) ** 2 * above).sum() / above.sum()
                found["width"][i, j] = np.sqrt(max(variance, 0.0))
    return found
