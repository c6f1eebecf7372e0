"""Simulated galaxies on the sky of real or hand-made frames."""

import numpy as np
import pytest
from astropy.io import fits

from photospec.errors import InputError
from photospec.simulation import Survey
from photospec.simulation.instrument.sky import sky_patches

BANDS = tuple("ugriz")


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A field of noise with one blinding star, as five frames with the header SDSS frames have."""
    folder = tmp_path_factory.mktemp("field")
    rng = np.random.default_rng(0)
    for band, rms in zip(BANDS, (0.04, 0.02, 0.03, 0.05, 0.18), strict=True):
        header = fits.Header()
        header["FILTER"], header["BUNIT"] = band, "nanomaggy"
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        header["CRPIX1"], header["CRPIX2"] = 200.5, 200.5
        header["CRVAL1"], header["CRVAL2"] = 150.0, 2.0
        header["CD1_1"], header["CD1_2"] = -0.396 / 3600, 0.0
        header["CD2_1"], header["CD2_2"] = 0.0, 0.396 / 3600
        image = rng.normal(0, rms, (400, 400)).astype(np.float32)
        image[195:205, 195:205] += 50.0
        fits.writeto(folder / f"frame-{band}-000001-1-0001.fits", image, header)
    return folder


def test_patches_have_the_noise_and_avoid_the_star(field):
    patches = sky_patches((str(field),), BANDS, 48)
    assert patches.shape[0] >= 10
    assert patches.shape[1:] == (5, 48, 48)
    # All bands lie on one grid here: interpolation changes nothing.
    assert patches.std(axis=(0, 2, 3)) == pytest.approx([0.04, 0.02, 0.03, 0.05, 0.18], rel=0.05)
    assert patches.max() < 2


def test_galaxies_stand_on_it(field):
    survey = Survey.sdss_main(seed=2).replace(sky_frames=(str(field),), size=48)
    batch = survey.simulate(64)
    residual = batch.image - batch.truth_image
    faint = batch.truth_image < 1e-3
    for b, rms in enumerate((0.04, 0.02, 0.03, 0.05, 0.18)):
        assert residual[:, b][faint[:, b]].std() == pytest.approx(rms, rel=0.05)
    assert (batch.truth["n_neighbours"] == 0).all()
    assert np.median(batch.truth["sky_rms_r"]) == pytest.approx(0.03, rel=0.05)
    np.testing.assert_array_equal(batch.image, survey.simulate(64).image)


@pytest.mark.slow
def test_sky_of_observed_frames(shared):
    folder = sorted((shared / "real" / "fields").iterdir())[0]
    batch = Survey.sdss_main(seed=2).replace(sky_frames=(str(folder),)).simulate(16)
    rms = np.array([np.median(batch.truth[f"sky_rms_{b}"]) for b in BANDS])
    # Within the spread of other fields; interpolated bands have less.
    assert (rms > np.array([0.02, 0.009, 0.022, 0.025, 0.1])).all()
    assert (rms < np.array([0.06, 0.025, 0.036, 0.06, 0.2])).all()


def test_folders_without_frames(tmp_path):
    survey = Survey.sdss_main().replace(sky_frames=(str(tmp_path),))
    with pytest.raises(InputError, match="sky_frames: expected a folder of SDSS frames"):
        survey.simulate(1)
    with pytest.raises(InputError, match="arcsec per pixel"):
        Survey.desi_legacy().replace(sky_frames=("anywhere",))
