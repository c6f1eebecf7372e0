"""Spectra to files and back; what is refused."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum import (
    FLUX_UNIT,
    from_arrays,
    read_spectrum,
    to_arrays,
    to_training_grid,
    write_spectra,
)

CENTRES = np.linspace(4000.0, 8000.0, 400)
FLUX = 1 + np.random.default_rng(3).random((2, 400))


def spectrum(**kwargs):
    return Spectrum(**{"flux": FLUX * FLUX_UNIT, "spectral_axis": CENTRES * u.AA, **kwargs})


def test_written_spectra_are_read_back(tmp_path):
    path = tmp_path / "spectra.fits"
    made = from_arrays(
        CENTRES,
        FLUX,
        sigma=FLUX / 10,
        mask=FLUX > 1.9,
        lsf=CENTRES / 4000,
        redshift=[0.1, 0.2],
        meta={"name": ["a", "b"], "seed": np.int64(3), "nested": {"x": (1, 2.5)}, "no": None},
    )
    write_spectra(path, made)
    found = read_spectrum(path)
    ours, theirs = to_arrays(made), to_arrays(found)
    for name in ("wavelength", "flux", "sigma", "mask", "lsf", "redshift"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert found.meta["name"] == ["a", "b"]
    assert found.meta["nested"] == {"x": [1, 2.5]}
    assert found.meta["seed"] == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_single_spectrum_file(tmp_path):
    write_spectra(tmp_path / "a.fits", from_arrays(CENTRES, FLUX[0], lsf=1.0))
    found = read_spectrum(tmp_path / "a.fits")
    assert found.flux.shape == (400,)
    assert found.uncertainty is None
    assert found.mask is None


def test_specutils_reads_our_files(tmp_path):
    path = tmp_path / "spectra.fits"
    write_spectra(path, from_arrays(CENTRES, FLUX, sigma=FLUX / 10))
    found = Spectrum.read(path, format="tabular-fits")
    np.testing.assert_allclose(found.flux.to_value(FLUX_UNIT), FLUX)
    np.testing.assert_allclose(found.spectral_axis.to_value(u.AA), CENTRES)
    np.testing.assert_allclose(found.uncertainty.array, FLUX / 10)


def test_existing_files_are_kept_unless_told(tmp_path):
    path = tmp_path / "a.fits"
    path.write_text("mine")
    with pytest.raises(InputError, match="which exists"):
        write_spectra(path, spectrum())
    assert path.read_text() == "mine"
    write_spectra(path, spectrum(), overwrite=True)
    assert read_spectrum(path).flux.shape == (2, 400)
    with pytest.raises(InputError, match="existing folder"):
        write_spectra(tmp_path / "no" / "a.fits", spectrum())


def test_files_of_specutils(tmp_path):
    spectrum(flux=FLUX[0] * FLUX_UNIT).write(tmp_path / "a.fits", format="tabular-fits")
    arrays = to_arrays(read_spectrum(tmp_path / "a.fits"))
    np.testing.assert_allclose(arrays.flux[0], FLUX[0])


def test_bad_files(tmp_path):
    def refused(name, match):
        with pytest.raises(InputError, match=match) as caught:
            read_spectrum(tmp_path / name)
        assert "\n" not in str(caught.value)

    refused("no.fits", "does not exist")
    (tmp_path / "empty.fits").write_bytes(b"")
    refused("empty.fits", "cannot be read|empty")
    (tmp_path / "text.fits").write_text("no FITS " * 1000)
    refused("text.fits", "cannot be read")
    (tmp_path / "text.txt").write_text("no spectrum")
    refused("text.txt", "columns of numbers")
    table = fits.BinTableHDU.from_columns([fits.Column("flux", "E", array=[1.0])])
    table.header["FORMAT"] = "photospec-spectra-1"
    table.writeto(tmp_path / "part.fits")
    refused("part.fits", "cannot be read")
    fits.PrimaryHDU(np.ones((5, 9, 9))).writeto(tmp_path / "image.fits")
    refused("image.fits", "expected")
    write_spectra(tmp_path / "a.fits", spectrum())
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 2])
    refused("cut.fits", "cannot be read")


def test_sdss_files(shared):
    """Against what the survey says of its own spectra."""
    for path in sorted((shared / "real" / "spectra").glob("*.fits")):
        found = read_spectrum(path)
        arrays = to_arrays(found)
        with fits.open(path) as hdus:
            data, row = hdus[1].data, hdus[2].data[0]
            np.testing.assert_allclose(arrays.wavelength, 10 ** data["loglam"].astype(float))
            np.testing.assert_allclose(arrays.flux[0], data["flux"], rtol=1e-6)
            good = data["ivar"] > 0
            np.testing.assert_array_equal(arrays.mask[0], ~good)
            np.testing.assert_allclose(arrays.sigma[0][good], data["ivar"][good] ** -0.5, rtol=1e-5)
            assert found.meta["sdss"]["z"] == pytest.approx(row["Z"])
        assert arrays.redshift is None  # a reference must not become a hint
        assert found.meta["identifier"] == path.stem.removeprefix("spec-")
        # a resolving power of about 1500 to 2500, as the survey has
        assert (arrays.lsf > 0).all()
        assert 1300 < np.median(arrays.wavelength / (2.3548 * arrays.lsf)) < 2600
        flux = to_training_grid(arrays.wavelength, arrays.flux)
        assert flux.shape == (1, 4500)
        assert np.isfinite(flux).all()


def test_spectra_of_the_first_sdss_are_read_to_the_pixel(tmp_path):
    """Rows of an image, logarithmic wavelengths from COEFF0 and COEFF1, as of spSpec files."""
    flux = np.linspace(1, 2, 100)
    sigma = np.where(np.arange(100) == 7, 0.0, 0.1)
    hdu = fits.PrimaryHDU(np.array([flux, 0 * flux, sigma, 0 * flux, flux]))
    hdu.header.update(TELESCOP="SDSS 2.5-M", FIBERID=10, COEFF0=3.58, COEFF1=1e-4)
    hdu.header.update(CRVAL1=3.58, CD1_1=1e-4)
    path = tmp_path / "spSpec-51602-0266-010.fit"
    hdu.writeto(path)
    spectrum = read_spectrum(path)
    expected = 10 ** (3.58 + 1e-4 * np.arange(100))
    np.testing.assert_allclose(spectrum.spectral_axis.to_value("AA"), expected, rtol=1e-9)
    np.testing.assert_allclose(spectrum.flux.value, flux)
    assert np.flatnonzero(spectrum.mask).tolist() == [7]


# ---------------------------------------------------------------- own files and back


def both(path, made):
    """Arrays of a spectrum and of what is read after it was written."""
    write_spectra(path, made, overwrite=True)
    back = read_spectrum(path)
    ours, theirs = to_arrays(made), to_arrays(back)
    for name in ("wavelength", "flux", "sigma", "mask", "lsf", "redshift"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    return back


@pytest.mark.parametrize("shape", [(400,), (1, 400), (3, 400), (400, 400)])
@pytest.mark.parametrize("first", [False, True])
def test_shapes_are_kept(tmp_path, shape, first):
    flux = 1 + np.random.default_rng(1).random(shape)
    bad, lsf = flux > 1.9, np.broadcast_to(CENTRES / 4000, shape)
    if first and len(shape) == 2:
        flux, bad, lsf = flux.T, bad.T, lsf.T
    made = Spectrum(
        flux=flux * u.mJy,
        spectral_axis=CENTRES * u.AA,
        spectral_axis_index=0 if first or len(shape) == 1 else 1,
        uncertainty=InverseVariance(np.where(bad, 0, 100.0) / u.mJy**2),
        mask=bad.astype(int),
        meta={"lsf_sigma": lsf, "wavelength_medium": "air", "flags": ["x"] * len(flux)},
    )
    back = both(tmp_path / "a.fits", made)
    assert back.flux.shape == shape
    assert back.flux.unit == u.mJy
    assert back.meta["wavelength_medium"] == "air"
    assert back.meta["flags"] == ["x"] * len(flux)


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_marks_of_bad_samples_survive(tmp_path, kind):
    power = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}[kind]
    error = np.full(FLUX.shape, 0.1) ** power
    error[0, :5] = [0.0, -1.0, np.nan, np.inf, 1e12**power]
    made = spectrum(uncertainty=kind(error * FLUX_UNIT**power))
    both(tmp_path / "a.fits", made)
    mask = to_arrays(read_spectrum(tmp_path / "a.fits")).mask
    assert np.argwhere(mask).tolist() == [[0, i] for i in range(5)]


@pytest.mark.parametrize(
    ("meta", "back"),
    [
        ({"redshift": 0.08 * u.one}, 0.08 * u.one),
        ({"redshift": [0.1, 0.2] * u.one}, [0.1, 0.2] * u.one),
        ({"redshift": np.float32(0.25)}, 0.25),
        ({"redshift": np.array([0.1, 0.2])}, [0.1, 0.2]),
    ],
)
def test_hints_survive(tmp_path, meta, back):
    found = both(tmp_path / "a.fits", spectrum(meta=meta))
    assert np.all(found.meta["redshift"] == back)


def test_the_redshift_attribute_survives(tmp_path):
    found = both(tmp_path / "a.fits", spectrum(redshift=0.08))
    assert found.redshift.value == pytest.approx(0.08)
    assert "_redshift" not in found.meta


def test_what_a_header_says_survives(tmp_path):
    found = both(tmp_path / "a.fits", spectrum(meta={"header": fits.Header({"CTYPE1": "AWAV"})}))
    assert found.meta["wavelength_medium"] == "air"


def test_velocities_are_written_as_wavelengths(tmp_path):
    axis = (CENTRES * u.AA).to(u.km / u.s, u.doppler_optical(6000 * u.AA))
    made = spectrum(spectral_axis=axis, rest_value=6000 * u.AA, velocity_convention="optical")
    write_spectra(tmp_path / "a.fits", made)
    found = to_arrays(read_spectrum(tmp_path / "a.fits"))
    np.testing.assert_allclose(found.wavelength, CENTRES)


def test_gaps_survive(tmp_path):
    keep = np.ones(400, bool)
    keep[100:120] = False
    made = from_arrays(CENTRES[keep], FLUX[:, keep], sigma=0.1, lsf=1.2)
    found = both(tmp_path / "a.fits", made)
    assert found.flux.shape == (2, 380)
    assert to_arrays(found).mask[:, 100:120].all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"flux": FLUX * u.one}, "got no unit"),
        ({"uncertainty": UnknownUncertainty(FLUX)}, "UnknownUncertainty"),
        ({"spectral_axis": np.arange(400) * u.pix}, "still in pixels"),
        ({"meta": {"lsf_sigma": 60 * u.km / u.s}}, "is it in km/s"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, change, match):
    with pytest.raises(InputError, match=match) as caught:
        write_spectra(tmp_path / "a.fits", spectrum(**change))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_sdss_files_of_which_samples_were_removed(shared, tmp_path):
    """A hole and a mask are the same, and the survey's own bad samples keep their places."""
    from photospec.archive.sdss.assemble import training_spectrum

    path = sorted((shared / "real" / "spectra").glob("*.fits"))[0]
    hole = np.arange(2000, 2020)
    with fits.open(path) as hdus:
        table = hdus[1].data
        removed = fits.BinTableHDU(np.delete(table, hole), hdus[1].header)
        fits.HDUList([hdus[0], removed, hdus[2]]).writeto(tmp_path / "removed.fits")
        hdus[1].data["ivar"][hole] = 0
        hdus.writeto(tmp_path / "masked.fits")
    arrays = [to_arrays(read_spectrum(tmp_path / f"{n}.fits")) for n in ("removed", "masked")]
    np.testing.assert_allclose(arrays[0].wavelength, arrays[1].wavelength, rtol=1e-6)
    np.testing.assert_array_equal(arrays[0].mask, arrays[1].mask)
    removed, masked = (training_spectrum(tmp_path / f"{n}.fits") for n in ("removed", "masked"))
    np.testing.assert_allclose(removed[1], masked[1], rtol=1e-4)
    good = masked[1] > 0
    np.testing.assert_allclose(removed[0][good], masked[0][good], rtol=1e-4)


def test_meta_of_one_spectrum_may_be_a_list_of_one(tmp_path):
    """As a slice of many spectra has it: it is in the table of objects all the same."""
    for name, ra in (("a", 150.0), ("b", [150.0])):
        path = tmp_path / f"{name}.fits"
        write_spectra(path, from_arrays(CENTRES, FLUX[0], meta={"ra": ra}))
        with fits.open(path) as hdus:
            tables = [hdu for hdu in hdus[1:] if isinstance(hdu, fits.BinTableHDU)]
            assert [t.data["ra"].tolist() for t in tables if "ra" in t.columns.names] == [[150.0]]
        assert np.ravel(read_spectrum(path).meta["ra"]).tolist() == [150.0]
