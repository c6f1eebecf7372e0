"""Made-up images for the tests of the image gate."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData
from astropy.wcs import WCS

from photospec.errors import InputError
from photospec.image import prepare_image

BANDS = ("u", "g", "r", "i", "z")
COLOURS = np.array([1.0, 3.0, 6.0, 8.0, 10.0])


def _gaussian(nx, ny, center, width, flux=1.0):
    """Pixel-integrated round Gaussian of total `flux`."""
    from scipy.special import erf

    def share(n, middle):
        edges = (np.arange(n + 1) - 0.5 - middle) / (np.sqrt(2) * width)
        return np.diff(erf(edges)) / 2

    return flux * np.outer(share(ny, center[1]), share(nx, center[0]))


def _galaxy(
    n=96, *, center=None, width=4.0, noise=0.01, seed=0, bands=BANDS, scale=0.396, **kwargs
):
    """Five bands of a Gaussian galaxy with total flux 100 * COLOURS, plus noise."""
    rng = np.random.default_rng(seed)
    center = (n // 2, n // 2) if center is None else center
    shape = _gaussian(n, n, center, width, 100.0)
    data = COLOURS[:, None, None] * shape + noise * rng.normal(size=(5, n, n))
    meta = {"bands": bands, "pixel_scale": scale * u.arcsec, "galactic_ebv": 0.0}
    meta |= kwargs.pop("meta", {})
    return NDData(data.astype(np.float32), unit=kwargs.pop("unit", "nmgy"), meta=meta, **kwargs)


def _tan_wcs(n=96, scale=0.396, angle=30.0, center=(150.0, 2.0)):
    """Celestial WCS with unit CDELT and everything in the PC matrix, as on SDSS cutouts."""
    wcs = WCS(naxis=2)
    turn = np.deg2rad(angle)
    matrix = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.pc = matrix * scale / 3600
    wcs.wcs.cdelt = 1, 1
    wcs.wcs.crpix = n // 2 + 1, n // 2 + 1
    wcs.wcs.crval = center
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    return wcs


def _refused(image, match, **kwargs):
    """Check that an image is refused with one line that matches."""
    with pytest.raises(InputError, match=match) as caught:
        prepare_image(image, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    assert "expected" in text
    assert "got" in text


@pytest.fixture(scope="session")
def galaxy():
    """Function that makes the image of a galaxy."""
    return _galaxy


@pytest.fixture(scope="session")
def gaussian():
    """Function that makes a round Gaussian."""
    return _gaussian


@pytest.fixture(scope="session")
def tan_wcs():
    """Function that makes a celestial WCS."""
    return _tan_wcs


@pytest.fixture(scope="session")
def refused():
    """Function that checks that the gate refuses an image."""
    return _refused
