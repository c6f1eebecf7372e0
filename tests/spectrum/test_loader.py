"""Our files of spectra in other programs: specutils, FITS, Jdaviz."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from specutils import Spectrum, SpectrumList

import photospec
from photospec.errors import InputError
from photospec.spectrum import FLUX_UNIT, from_arrays, read_spectrum, to_arrays, write_spectra

WAVELENGTH = np.arange(4000.0, 4500.0)
FLUX = np.arange(1.0, 4.0)[:, None] * np.linspace(1, 2, WAVELENGTH.size)


def prediction(flux=FLUX, **meta):
    n = len(flux)
    meta = {
        "spread": 0.1 * flux * FLUX_UNIT,
        "images": [f"galaxy {i}.fits" for i in range(n)],
        "flags": [["padded", "resampled"], [], ["out_of_distribution"]][:n],
        "similarity": [0.5, 0.25, 0.75][:n],
        "drawn_redshift": [0.1, None, 0.3][:n],
        "ra": [150.0, 151.0, 152.0][:n],
        "seed": 7,
        "weights": "bundled",
        **meta,
    }
    return from_arrays(WAVELENGTH, flux, lsf=2 + WAVELENGTH / 1e4, meta=meta)


@pytest.fixture
def path(tmp_path):
    write_spectra(tmp_path / "spectra.fits", prediction())
    return tmp_path / "spectra.fits"


def test_a_list_has_a_spectrum_for_each_galaxy(path):
    spectra = SpectrumList.read(path)
    assert len(spectra) == 3
    for i, spectrum in enumerate(spectra):
        assert spectrum.flux.shape == (500,)
        np.testing.assert_allclose(spectrum.flux.to_value(FLUX_UNIT), FLUX[i])
        assert isinstance(spectrum.uncertainty, StdDevUncertainty)
        np.testing.assert_allclose(spectrum.uncertainty.array, 0.1 * FLUX[i], rtol=1e-6)
        np.testing.assert_allclose(spectrum.meta["lsf_sigma"], 2 + WAVELENGTH / 1e4)
        assert spectrum.meta["image"] == f"galaxy {i}.fits"
        assert spectrum.meta["wavelength_medium"] == "vacuum"
        assert (spectrum.meta["seed"], spectrum.meta["weights"]) == (7, "bundled")
    assert spectra[0].meta["flags"] == ["padded", "resampled"]
    assert spectra[2].meta["similarity"] == 0.75
    assert spectra[1].meta["drawn_redshift"] is None


def test_one_spectrum_has_all_galaxies_as_rows(path):
    spectrum = Spectrum.read(path)
    assert spectrum.flux.shape == (3, 500)
    np.testing.assert_allclose(spectrum.uncertainty.array, 0.1 * FLUX, rtol=1e-6)
    assert spectrum.meta["images"][1] == "galaxy 1.fits"


@pytest.mark.parametrize("flux", [FLUX[:1], FLUX[0]])
def test_a_file_of_one_galaxy(tmp_path, flux):
    made = prediction(np.atleast_2d(flux))
    if flux.ndim == 1:
        flags = made.meta["flags"][0]
        meta = made.meta | {"spread": made.meta["spread"][0], "images": "a.fits", "flags": flags}
        made = from_arrays(WAVELENGTH, flux, lsf=1.0, meta=meta)
    write_spectra(tmp_path / "one.fits", made)
    one = Spectrum.read(tmp_path / "one.fits")
    (same,) = SpectrumList.read(tmp_path / "one.fits")
    assert one.flux.shape == same.flux.shape == (500,)
    assert one.meta["flags"] == ["padded", "resampled"]
    np.testing.assert_allclose(one.uncertainty.array, 0.1 * FLUX[0], rtol=1e-6)


def test_what_is_measured_does_not_take_the_spread_for_noise(path):
    found = read_spectrum(path)
    assert found.uncertainty is None
    assert to_arrays(found).sigma is None
    np.testing.assert_allclose(found.meta["spread"].to_value(FLUX_UNIT), 0.1 * FLUX, rtol=1e-6)


def test_other_uncertainties_redshifts_and_masks_stay(tmp_path):
    made = from_arrays(WAVELENGTH, FLUX, sigma=FLUX / 5, mask=FLUX > 5.9, redshift=[0.1, 0.2, 0.3])
    write_spectra(tmp_path / "a.fits", made)
    spectra = SpectrumList.read(tmp_path / "a.fits")
    for i, spectrum in enumerate(spectra):
        np.testing.assert_allclose(spectrum.uncertainty.array, FLUX[i] / 5)
        np.testing.assert_array_equal(spectrum.mask, FLUX[i] > 5.9)
        assert spectrum.meta["redshift"] == pytest.approx([0.1, 0.2, 0.3][i])
    one = Spectrum(flux=FLUX[0] * FLUX_UNIT, spectral_axis=WAVELENGTH * u.AA, redshift=0.08)
    write_spectra(tmp_path / "b.fits", one)
    (found,) = SpectrumList.read(tmp_path / "b.fits")
    assert found.redshift.value == pytest.approx(0.08)


def test_other_files_are_left_to_their_readers(tmp_path):
    Spectrum(flux=FLUX[0] * FLUX_UNIT, spectral_axis=WAVELENGTH * u.AA).write(
        tmp_path / "theirs.fits", format="tabular-fits"
    )
    assert Spectrum.read(tmp_path / "theirs.fits").flux.shape == (500,)
    with pytest.raises(FileNotFoundError):
        Spectrum.read(tmp_path / "none.fits")


def test_without_photospec_specutils_reads_flux_and_spread(path):
    found = Spectrum.read(path, format="tabular-fits")
    np.testing.assert_allclose(found.flux.to_value(FLUX_UNIT), FLUX)
    np.testing.assert_allclose(found.uncertainty.array, 0.1 * FLUX, rtol=1e-6)


def test_a_spread_of_another_shape_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected the shape of the flux"):
        write_spectra(tmp_path / "a.fits", prediction(spread=FLUX[0] * FLUX_UNIT))
    assert not list(tmp_path.iterdir())


def test_objects_are_rows_that_any_program_reads(path):
    with fits.open(path) as hdus:
        hdus.verify("exception")
        table = hdus["OBJECTS"]
        assert table.columns["ra"].unit == "deg"
        assert table.data["image"].tolist() == [f"galaxy {i}.fits" for i in range(3)]
        assert table.data["flags"].tolist() == ["padded; resampled", "", "out_of_distribution"]
        assert np.isnan(table.data["drawn_redshift"][1])
    assert fits.getheader(path, "OBJECTS")["TCOMM2"].startswith("right ascension")


def test_the_line_for_programs_that_do_not_import_photospec(path, tmp_path):
    """specutils runs the files in ~/.specutils when it is imported."""
    (tmp_path / ".specutils").mkdir()
    (tmp_path / ".specutils" / "photospec.py").write_text("import photospec.spectrum\n")
    code = f"""
import sys
from specutils import SpectrumList
spectra = SpectrumList.read({str(path)!r})
assert "torch" not in sys.modules
print(len(spectra), spectra[2].meta["image"])
"""
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(photospec.__file__).parents[1]),
    }
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert found.stdout.strip() == "3 galaxy 2.fits", found.stderr


@pytest.mark.skipif(not shutil.which("fitsverify"), reason="the program fitsverify is not here")
def test_fitsverify_finds_nothing(path):
    found = subprocess.run(["fitsverify", "-q", str(path)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert "OK" in found.stdout


def jdaviz_python():
    """Python of an environment with Jdaviz: this one, or the one of PHOTOSPEC_JDAVIZ_PYTHON."""
    named = os.environ.get("PHOTOSPEC_JDAVIZ_PYTHON")
    if named:
        return named
    return sys.executable if importlib.util.find_spec("jdaviz") else None


@pytest.mark.skipif(
    jdaviz_python() is None,
    reason="Jdaviz is not installed (it needs an environment of its own: its Python by "
    "PHOTOSPEC_JDAVIZ_PYTHON)",
)
def test_jdaviz_shows_every_galaxy(path):
    code = f"""
import warnings
warnings.simplefilter("ignore")
import photospec.spectrum
from jdaviz import Specviz
specviz = Specviz()
specviz.load({str(path)!r}, extension="*")
data = specviz.app.data_collection
print(len(data), all("uncertainty" in [str(c) for c in one.components] for one in data))
"""
    environment = os.environ | {"PYTHONPATH": str(Path(photospec.__file__).parents[1])}
    environment.pop("MPLBACKEND", None)
    found = subprocess.run(
        [jdaviz_python(), "-c", code], env=environment, capture_output=True, text=True
    )
    assert found.stdout.strip().endswith("3 True"), found.stderr
