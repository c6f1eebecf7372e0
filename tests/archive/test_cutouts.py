"""Cutouts: against real images of the same galaxies, and against known simulated ones."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import center_of_mass
from simulated_sky import BAND_FLUX, BANDS, GALAXY_SIGMA, Sky, frame_path

from photospec.archive.sdss.fields import read_frame
from photospec.image import prepare_image, read_image, write_image
from photospec.image.frames import Grid, combine, cut
from photospec.photometry.apertures import aperture_flux

# Gain and dark variance of camera column 1 (SDSS data model).
CHIPS = {
    "u": (1.62, 9.61),
    "g": (3.32, 15.6025),
    "r": (4.71, 1.8225),
    "i": (5.165, 7.84),
    "z": (4.745, 0.81),
}


@pytest.fixture(scope="session")
def real_frames(shared):
    folder = shared / "real/fields/001043-5-0025"
    return {
        band: read_frame(folder / f"frame-{band}-001043-5-0025.fits.bz2", band, 1043, 5, 25)[0]
        for band in BANDS
    }


@pytest.fixture(scope="session")
def real_pairs(real_frames, shared):
    """Our cutouts of real galaxies, and the images of the same galaxies made elsewhere."""
    images = sorted((shared / "real/images").glob("sdss-001043-5-0025-*.fits"))
    assert images
    reference = real_frames["r"].wcs
    headers = [fits.getheader(path) for path in images]
    grids = [Grid.around(reference, h["RA_OBJ"], h["DEC_OBJ"], 96) for h in headers]
    cutouts = [
        combine(
            {band: cut(real_frames[band], reference, grid) for band in BANDS}, grid, reference, {}
        )
        for grid in grids
    ]
    return [(cutout, fits.getdata(path), path) for cutout, path in zip(cutouts, images)]


def test_archive_and_read_image_cut_the_same_image(real_pairs, shared):
    """One frame cutter: from files by read_image, and from frames in memory by the archive."""
    for cutout, _, _ in real_pairs[:2]:
        folder = shared / "real/fields/001043-5-0025"
        image = read_image(folder, position=cutout.meta["position"], bands="ugriz")
        np.testing.assert_array_equal(image.data, cutout.data)
        np.testing.assert_array_equal(image.uncertainty.array, cutout.uncertainty.array)


def test_same_position_as_real_images(real_pairs):
    for cutout, image, path in real_pairs:
        wcs = WCS(fits.getheader(path)).celestial
        x, y = wcs.world_to_pixel_values(*cutout.meta["position"])
        ours = cutout.wcs.world_to_pixel_values(*cutout.meta["position"])
        np.testing.assert_allclose(ours, (x, y), atol=1e-3)
        for band in range(5):
            # The light itself: centroid of what stands out near the centre.
            box = np.s_[33:64, 33:64]
            level = 0.2 * image[band][box].max()
            here = center_of_mass(np.clip(cutout.data[band][box] - level, 0, None))
            there = center_of_mass(np.clip(image[band][box] - level, 0, None))
            assert np.hypot(*np.subtract(here, there)) < 0.1


def test_same_flux_as_real_images(real_pairs):
    for cutout, image, _ in real_pairs:
        assert not cutout.mask.any()
        center = cutout.wcs.world_to_pixel_values(*cutout.meta["position"])
        for radius in (1.5, 3.0, 7.0):
            ours = aperture_flux(cutout.data, radius, center=center)
            theirs = aperture_flux(image, radius, center=center)
            np.testing.assert_allclose(ours, theirs, rtol=5e-3)


def test_noise_is_that_of_the_sky(real_frames):
    """The model of the noise against the scatter of real pixels without objects."""
    for band, frame in real_frames.items():
        data, sigma = frame.box(0, 2048, 0, 1489)
        # Neighbours differ by noise alone where there is nothing: immune to sky and galaxies.
        step = (data[:, 1:] - data[:, :-1]) / np.hypot(sigma[:, 1:], sigma[:, :-1])
        scatter = 1.4826 * np.median(np.abs(step - np.median(step)))
        assert scatter == pytest.approx(1, abs=0.06), band


@pytest.fixture(scope="module")
def simulated_frames(tmp_path_factory):
    sky = Sky.simulated(n_fields=1, n_per_field=1, seed=2)
    folder = tmp_path_factory.mktemp("frames")
    frames = {}
    for band in BANDS:
        path = folder / band
        path.write_bytes(sky.body(frame_path(1000, 1, 11, band)))
        frames[band] = read_frame(path, band, 1000, 1, 11)[0]
    return frames, sky.galaxies[0]


def test_bands_are_registered_and_flux_is_conserved(simulated_frames):
    frames, galaxy = simulated_frames
    grid = Grid.around(frames["r"].wcs, galaxy["ra"], galaxy["dec"], 48)
    x, y = frames["r"].wcs.world_to_pixel_values(galaxy["ra"], galaxy["dec"])
    center = (float(x) - grid.x0, float(y) - grid.y0)
    assert max(abs(c - 24) for c in center) <= 0.5
    yy, xx = np.mgrid[:48, :48]
    profile = np.exp(-((xx - center[0]) ** 2 + (yy - center[1]) ** 2) / (2 * GALAXY_SIGMA**2))
    profile /= 2 * np.pi * GALAXY_SIGMA**2
    for band, frame in frames.items():
        data, sigma = cut(frame, frames["r"].wcs, grid)
        # Noise of 0.002 a pixel, against a peak of 0.14 to 1.9.
        np.testing.assert_allclose(data, BAND_FLUX[band] * profile, atol=0.012)
        assert data.sum() == pytest.approx(BAND_FLUX[band], abs=0.4)
        counts = data / 0.005 + 150
        gain, dark = CHIPS[band]
        # Of the nearest pixel: up to 0.7 pixels away on the slope of the galaxy.
        np.testing.assert_allclose(sigma, 0.005 * np.sqrt(counts / gain + dark), rtol=0.06)


def test_pixels_off_the_frame_are_masked_in_every_band(simulated_frames):
    frames, _ = simulated_frames
    ra, dec = frames["r"].wcs.pixel_to_world_values(5, 60)
    grid = Grid.around(frames["r"].wcs, ra, dec, 32)
    for band, frame in frames.items():
        data, sigma = cut(frame, frames["r"].wcs, grid)
        bad = ~np.isfinite(data)
        assert np.array_equal(bad, ~np.isfinite(sigma))
        assert bad[:, :8].all(), band
        assert not bad[:, 15:].any(), band


def test_cutout_file_is_an_image_for_the_gate(simulated_frames, tmp_path):
    frames, galaxy = simulated_frames
    grid = Grid.around(frames["r"].wcs, galaxy["ra"], galaxy["dec"], 80)
    pieces = {band: cut(frames[band], frames["r"].wcs, grid) for band in BANDS}
    meta = {"run": 1000, "rerun": 301, "camcol": 1, "field": 11, "date": "2001-01-01"}
    meta["specobjid"] = 18446744073709551615  # beyond signed integers
    cutout = combine(pieces, grid, frames["r"].wcs, meta)
    path = tmp_path / "cutout.fits"
    write_image(path, cutout)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, cutout.data)
    np.testing.assert_array_equal(image.uncertainty.array, cutout.uncertainty.array)
    assert {key: image.meta[key] for key in meta} == meta
    assert image.meta["bands"] == tuple(BANDS)
    np.testing.assert_allclose(image.meta["position"], (galaxy["ra"], galaxy["dec"]))
    array = prepare_image(image, size=64)
    np.testing.assert_array_equal(array.data, prepare_image(cutout, size=64).data)
    assert array.uncertainty is not None
    np.testing.assert_array_equal(array.data, cutout.data[:, 8:72, 8:72])
