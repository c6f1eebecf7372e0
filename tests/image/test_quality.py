"""Flags of what the light around the position looks like."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData

from photospec.image import prepare_image

N = 64
ROWS, COLUMNS = np.indices((N, N)) - N // 2


def source(flux, x=0.0, y=0.0, width=1.2):
    """A round source of a total flux (nanomaggies), x and y pixels from the middle."""
    shape = np.exp(-0.5 * (np.hypot(COLUMNS - x, ROWS - y) / width) ** 2)
    return flux * shape / shape.sum()


def flags(planes, bands="ugriz", noise=0.002, scale=0.396, wanted=None):
    planes = np.asarray(planes, dtype=float)
    noise = np.broadcast_to(noise, len(planes))[:, None, None]
    planes = planes + noise * np.random.default_rng(0).standard_normal(planes.shape)
    meta = {"bands": bands, "pixel_scale": scale * u.arcsec, "galactic_ebv": 0.0}
    image = NDData(planes, unit=u.nmgy, meta=meta)
    wanted = {} if wanted is None else {"bands": tuple(wanted)}
    return set(prepare_image(image, pixel_scale=scale, **wanted).flags)


def test_a_target_in_the_middle_is_not_flagged():
    assert flags([source(5)] * 5) == set()


@pytest.mark.parametrize(("arcsec", "flagged"), [(2.0, True), (4.5, True), (6.5, False)])
@pytest.mark.parametrize("angle", [0, 90, 200])
def test_a_brighter_neighbour_within_five_arcsec(arcsec, flagged, angle):
    x, y = (arcsec / 0.396 * part(np.radians(angle)) for part in (np.cos, np.sin))
    planes = [source(5) + source(15, x, y)] * 5
    assert ("target_off_centre" in flags(planes)) == flagged


def test_half_as_bright_again_is_the_limit():
    for ratio, flagged in ((1.3, False), (1.8, True)):
        planes = [source(5) + source(5 * ratio, 9)] * 5
        assert ("target_off_centre" in flags(planes)) == flagged


def test_faint_targets_and_empty_places():
    """Fluxes below one nanomaggy count, and a target that is negative is no target."""
    assert "target_off_centre" in flags([source(0.5) + source(1.5, 8)] * 5)
    assert "target_off_centre" in flags([source(-0.5) + source(1.5, 8)] * 5)


def test_light_is_smoothed_by_a_pixel():
    """A point beside an extended galaxy, and a lone hot pixel, which is no neighbour."""
    galaxy = source(40, width=6.0)
    assert "target_off_centre" in flags([galaxy + source(10, 12, width=1.0)] * 5)
    hot = galaxy.copy()
    hot[N // 2 + 10, N // 2] += 2 * galaxy.max()
    assert "target_off_centre" not in flags([hot] * 5)


def test_a_neighbour_at_the_edge_of_a_small_field():
    """Five arcsec reach beyond the crop: its first row and column count."""
    for x, y in ((-32, 0), (0, -32), (31, 0), (0, 31)):
        planes = [source(5, width=2.0) + source(5, x, y, width=0.7)] * 5
        assert "target_off_centre" in flags(planes, scale=0.12)


def test_the_band_that_sees_the_target_best_decides():
    """r, or where there is none the one of the highest signal-to-noise, not of most light."""
    alone, beside = source(5), source(5) + source(20, 8)
    assert "target_off_centre" not in flags([beside, beside, alone, beside, beside])
    assert "target_off_centre" in flags([alone, alone, beside, alone, alone])
    for planes, deviations, flagged in (
        ([alone, alone, beside], [0.002, 0.002, 0.05], False),
        ([beside, alone, alone], [0.001, 0.05, 0.05], True),
    ):
        found = flags(planes, "giz", deviations, wanted="giz")
        assert ("target_off_centre" in found) == flagged


def test_five_sigma_in_the_fibre_are_seen():
    """In any band. The fibre has 45 pixels: noise of 0.02 each is 0.134."""
    pixels = np.pi * (1.5 / 0.396) ** 2
    sigma = 0.02 * np.sqrt(pixels)
    for times, low in ((3.0, True), (9.0, False)):
        planes = np.zeros((5, N, N))
        planes[3] = source(times * sigma / 0.99, width=1.2)
        assert ("low_signal" in flags(planes, noise=0.02)) == low
