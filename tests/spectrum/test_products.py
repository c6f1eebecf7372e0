"""Products with the extensions and columns of the published study's."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from photospec.errors import InputError
from photospec.spectrum import (
    FLUX_UNIT,
    WAVELENGTH,
    from_arrays,
    read_spectrum,
    to_arrays,
    write_product,
)

FLUX = np.linspace(1, 3, WAVELENGTH.size)


def predicted(**meta):
    meta = {
        "ra": 150.25,
        "dec": -1.5,
        "image": "galaxy.fits",
        "expected_redshift": 0.11,
        "spread": 0.1 * FLUX * FLUX_UNIT,
        "weights": "default",
        "seed": 4,
        **meta,
    }
    return from_arrays(WAVELENGTH, FLUX, meta=meta)


def test_product_of_an_image_alone(tmp_path):
    path = tmp_path / "a.fits"
    write_product(path, predicted())
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert [len(hdu.data) for hdu in hdus[1:]] == [1, 0, 4500]
        row = hdus[1].data[0]
        assert (row["ra"], row["dec"], row["redshift"]) == (150.25, -1.5, 0.11)
        assert row["obj_id"] == "galaxy.fits"
        assert np.isnan(row["vel_disp"])
        assert hdus[1].header["Z_ORIGIN"] == "predicted"
        assert hdus[0].header["WEIGHTS"] == "default"
        data = hdus[3].data
        np.testing.assert_allclose(data["wavelength"], WAVELENGTH)
        level = FLUX[(WAVELENGTH >= 6900) & (WAVELENGTH < 6950)].mean()
        np.testing.assert_allclose(data["generated_spectrum"], FLUX / level, rtol=1e-6)
        np.testing.assert_allclose(data["spread"], 0.1 * FLUX, rtol=1e-6)
        assert np.isnan(data["gt_spectrum"]).all()
        assert u.Unit(hdus[3].columns["flux"].unit) == FLUX_UNIT


def test_columns_are_those_of_the_published_products(tmp_path):
    """Names in utils/results_to_fits.py of the public code of arXiv:2406.18175."""
    write_product(tmp_path / "a.fits", predicted())
    with fits.open(tmp_path / "a.fits") as hdus:
        named = set(hdus[1].columns.names)
        assert {"ra", "dec", "obj_id", "redshift", "z_err", "vel_disp", "mag_r"} <= named
        assert {"plate", "mjd", "fiberID", "log_mass_maraston", "p_cs_debiased"} <= named
        assert hdus[2].columns.names == ["orig_wavelength", "orig_spectrum", "ivar"]
        expected = ["wavelength", "gt_spectrum", "generated_spectrum"]
        assert hdus[3].columns.names[:3] == expected


def test_observed_spectrum_goes_beside_it(shared, tmp_path):
    """A spectrum of shared/real/spectra; its survey's redshift goes before the predicted one."""
    path = sorted((shared / "real" / "spectra").glob("spec-*.fits"))[0]
    observed = read_spectrum(path)
    write_product(tmp_path / "a.fits", predicted(), observed=observed)
    arrays = to_arrays(observed)
    with fits.open(tmp_path / "a.fits") as hdus:
        row = hdus[1].data[0]
        assert row["redshift"] == pytest.approx(observed.meta["sdss"]["z"])
        assert row["obj_id"] == observed.meta["identifier"]
        assert f"{row['plate']:04}-{row['mjd']}-{row['fiberID']:04}" == row["obj_id"]
        data = hdus[2].data
        np.testing.assert_allclose(data["orig_wavelength"], arrays.wavelength)
        assert (data["ivar"][arrays.mask[0]] == 0).all()
        good = ~arrays.mask[0]
        np.testing.assert_allclose(data["ivar"][good], arrays.sigma[0][good] ** -2, rtol=1e-5)
        truth = hdus[3].data["gt_spectrum"]
        at = (WAVELENGTH >= 6900) & (WAVELENGTH < 6950)
        assert np.nanmean(truth[at]) == pytest.approx(1, rel=1e-5)


def test_an_observed_spectrum_that_does_not_cover_the_range(tmp_path):
    short = from_arrays(np.arange(5000.0, 6000.0), np.ones(1000), sigma=0.1)
    write_product(tmp_path / "a.fits", predicted(), observed=short)
    with fits.open(tmp_path / "a.fits") as hdus:
        assert np.isnan(hdus[3].data["gt_spectrum"]).all()
        assert len(hdus[2].data) == 1000
        assert hdus[2].data["ivar"][0] == pytest.approx(100)


def test_refusals(tmp_path):
    two = from_arrays(WAVELENGTH, np.stack([FLUX, FLUX]))
    with pytest.raises(InputError, match="the spectrum of one galaxy"):
        write_product(tmp_path / "a.fits", two)
    (tmp_path / "a.fits").touch()
    with pytest.raises(InputError, match="which exists"):
        write_product(tmp_path / "a.fits", predicted())


@pytest.mark.skipif(not shutil.which("fitsverify"), reason="the program fitsverify is not here")
def test_fitsverify_finds_nothing(tmp_path):
    write_product(tmp_path / "a.fits", predicted())
    command = ["fitsverify", "-q", str(tmp_path / "a.fits")]
    assert "OK" in subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("identifier", ["266-a-3", "266-51602", "266-51602-3-1", "x"])
def test_other_identifiers_are_no_plate_and_fibre(tmp_path, identifier):
    path = tmp_path / "a.fits"
    observed = from_arrays(WAVELENGTH, FLUX, sigma=0.1, meta={"identifier": identifier})
    write_product(path, predicted(), observed=observed)
    with fits.open(path) as hdus:
        assert hdus[1].data[0]["obj_id"] == identifier
        names = [name for name in ("plate", "mjd", "fiberID") if name in hdus[1].columns.names]
        assert not any(hdus[1].data[0][name] == 266 for name in names)
