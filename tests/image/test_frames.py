"""Errors of SDSS frames against the tables of their data model, and where galaxies lie on them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from photospec.image.frames import Frame, Grid, combine, cut, frame_variance

# Page "frame" of the SDSS data model, by camera column 1 to 6: gain in electrons per count and
# dark variance in counts squared of u, g, r, i, z.
GAIN = """
    1.62   3.32   4.71   5.165  4.745
    1.595  3.855  4.6    6.565  5.155
    1.59   3.845  4.72   4.86   4.885
    1.6    3.995  4.76   4.885  4.775
    1.47   4.05   4.725  4.64   3.48
    2.17   4.035  4.895  4.76   4.69
"""
DARK_VARIANCE = """
    9.61    15.6025 1.8225 7.84   0.81
    12.6025 1.44    1.00   5.76   1.0
    8.7025  1.3225  1.3225 4.6225 1.0
    12.6025 1.96    1.3225 6.25   9.61
    9.3025  1.1025  0.81   7.84   1.8225
    7.0225  1.8225  0.9025 5.0625 1.21
"""
# After run 1100 (gain) and 1500 (dark variance).
NEW_GAIN = {("u", 2): 1.825}
NEW_DARK_VARIANCE = {("i", 2): 6.25, ("i", 4): 7.5625, ("z", 4): 12.6025, ("z", 5): 2.1025}


def table(text):
    return np.array([[float(word) for word in line.split()] for line in text.split("\n") if line])


def frame(band, column, run, *, sky=120.0, calibration=0.004):
    header = fits.Header({"FILTER": band, "CAMCOL": column, "RUN": run})
    sky = fits.BinTableHDU.from_columns(
        [
            fits.Column("ALLSKY", "4E", dim="(2,2)", array=np.full((1, 2, 2), sky)),
            fits.Column("XINTERP", "6E", array=np.linspace(0, 1, 6)[None]),
            fits.Column("YINTERP", "5E", array=np.linspace(0, 1, 5)[None]),
        ]
    )
    calibration = fits.ImageHDU(np.full(6, calibration))
    return fits.HDUList([fits.PrimaryHDU(np.zeros((5, 6)), header), calibration, sky])


@pytest.mark.parametrize("run", [94, 1200, 8000])
def test_variance_by_the_tables_of_the_data_model(run):
    box = np.s_[1:4, 2:6]
    image = np.full((3, 4), 0.8)  # 200 counts
    for column in range(1, 7):
        for index, band in enumerate("ugriz"):
            gain, dark = table(GAIN)[column - 1, index], table(DARK_VARIANCE)[column - 1, index]
            if run > 1100:
                gain = NEW_GAIN.get((band, column), gain)
            if run > 1500:
                dark = NEW_DARK_VARIANCE.get((band, column), dark)
            found = frame_variance(image, frame(band, column, run), box)
            np.testing.assert_allclose(found, (320.0 / gain + dark) * 0.004**2, rtol=1e-6)


def test_counts_are_not_negative_and_other_files_have_no_variance():
    hdus = frame("r", 3, 94)
    deep = frame_variance(np.full((5, 6), -10.0), hdus, np.s_[:, :])
    np.testing.assert_allclose(deep, 1.3225 * 0.004**2, rtol=1e-6)
    for card in ("FILTER", "CAMCOL"):
        less = frame("r", 3, 94)
        del less[0].header[card]
        assert frame_variance(np.zeros((5, 6)), less, np.s_[:, :]) is None
    assert frame_variance(np.zeros((5, 6)), frame("y", 3, 94), np.s_[:, :]) is None
    assert frame_variance(np.zeros((5, 6)), hdus[:1], np.s_[:, :]) is None


def test_how_far_outside_a_galaxy_lies():
    """The galaxy is pixel 32 of the 64 from the corner of the grid; a frame has (ny, nx) pixels."""
    shape = (50, 200)
    for x, y, distance in (
        (10, 20, 0), (0, 0, 0), (199, 49, 0), (200, 49, 1), (207, 3, 8), (-1, 5, 1), (-9, 20, 9),
        (40, -4, 4), (40, 50, 1), (40, 61, 12), (-3, 70, 21),
    ):  # fmt: skip
        assert Grid(x - 32, y - 32, 64, 150.0, 2.0).outside(shape) == distance


def test_a_grid_of_an_odd_number_of_pixels_has_a_middle():
    assert Grid(-16, 0, 31, 150.0, 2.0).outside((50, 50)) == 1
    assert Grid(-15, 0, 31, 150.0, 2.0).outside((50, 50)) == 0


def test_errors_go_with_their_pixels_onto_another_grid():
    """A band turned by 90 degrees: its data and its errors differ along both axes."""
    ny, nx = 60, 90
    rows, columns = np.indices((ny, nx))
    here, turned = _wcs(0.0), _wcs(90.0)
    data, sigma = 5.0 + 0.01 * columns + 0.02 * rows, 1.0 + 0.01 * columns + 0.03 * rows
    grid = Grid(30, 20, 12, 150.0, 2.0)
    found, error = cut(Frame("g", data, turned, sigma), here, grid)
    y, x = np.mgrid[20:32, 30:42]
    sky = here.all_pix2world(x.ravel(), y.ravel(), 0)
    x, y = (value.reshape(12, 12) for value in turned.all_world2pix(*sky, 0))
    np.testing.assert_allclose(found, 5.0 + 0.01 * x + 0.02 * y, rtol=1e-3)
    np.testing.assert_allclose(error, 1.0 + 0.01 * x + 0.03 * y, rtol=0.03)


def _wcs(angle):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = (
        ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [37.0, 27.0],
    )  # fmt: skip
    turn = np.deg2rad(angle)
    wcs.wcs.pc = [[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    wcs.wcs.cdelt = 1e-4, 1e-4
    return wcs


def test_errors_are_compared_over_the_image_not_by_row():
    """A row whose errors are all marks is bad."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [9.0, 9.0]
    wcs.wcs.cdelt = -1e-4, 1e-4
    data, sigma = np.ones((16, 16)), np.full((16, 16), 0.1)
    sigma[5] = 1e6
    pieces = {"g": (data, sigma), "r": (2 * data, 0.1 + 0 * sigma)}
    image = combine(pieces, Grid(0, 0, 16, 150.0, 2.0), wcs, {"bands": ("g", "r")})
    assert np.flatnonzero(image.mask[0].all(axis=1)).tolist() == [5]
    assert image.mask.sum() == 16
    np.testing.assert_array_equal(image.data[1], 2.0)
