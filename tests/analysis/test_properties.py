import signal
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from specutils import SpectrumCollection, SpectrumList

from photospec.analysis import measure_properties
from photospec.analysis.indices.definitions import LICK
from photospec.analysis.properties import COLUMNS
from photospec.errors import InputError
from photospec.spectrum import WAVELENGTH, from_arrays, read_spectrum, to_arrays
from photospec.utils.parallel import map_in_processes

DESIGN = {
    "redshift": None, "age_light_weighted": u.Gyr, "age_mass_weighted": u.Gyr,
    "metallicity_light_weighted": u.dex, "metallicity_mass_weighted": u.dex, "ebv": u.mag,
    "velocity_dispersion": u.km / u.s, "dn4000": None, "lick_mgb": u.AA, "lick_mg2": u.mag,
    "halpha_flux": 1e-17 * u.erg / u.s / u.cm**2, "halpha_ew": u.AA, "log_nii_ha": u.dex,
    "log_oiii_hb": u.dex, "log_sii_ha": u.dex,
}  # fmt: skip


@pytest.fixture(scope="module")
def galaxy(make_galaxy):
    return make_galaxy(0.06, lines=2.0, signal_to_noise=25)


@pytest.fixture(scope="module")
def table(galaxy):
    return measure_properties(galaxy)


def test_columns_units_and_errors(table):
    assert len(table) == 1
    for name, unit in DESIGN.items():
        column = table[name]
        assert (column.unit == unit) if unit is not None else column.unit is None, name
        assert table[f"{name}_error"].unit == column.unit, name
        assert not column.mask[0], name
        error = np.ma.getdata(getattr(table[f"{name}_error"], "unmasked", table[f"{name}_error"]))
        assert np.all(u.Quantity(error).value > 0), name
    assert {f"lick_{name}" for name in LICK} <= set(table.colnames)
    assert table["bpt_class"][0] in ("STAR_FORMING", "COMPOSITE")
    assert table["flags"].dtype.kind == "U"
    errors = {f"{name}_error" for name in COLUMNS}
    assert set(table.colnames) == {*COLUMNS, *errors, "broad_line", "bpt_class", "flags"}


def test_values_are_those_put_in(table):
    row = table[0]
    assert row["redshift"] == pytest.approx(0.06, abs=5e-5)
    # The stars are broadened by 150 km/s on top of the MILES resolution, the lines exactly.
    assert float(row["velocity_dispersion"].value) == pytest.approx(150, rel=0.1)
    assert float(row["halpha_flux"].value) == pytest.approx(62, rel=0.05)
    assert float(row["oiii_5007_flux"].value) == pytest.approx(21, rel=0.08)
    assert float(row["log_nii_ha"].value) == pytest.approx(np.log10(10.5 / 31), abs=0.03)


def test_round_trip_through_ecsv(table, tmp_path):
    table.write(tmp_path / "table.ecsv")
    back = QTable.read(tmp_path / "table.ecsv")
    assert back.colnames == table.colnames
    assert back["lick_mgb"][0] == table["lick_mgb"][0]
    assert back["lick_mgb"].unit == u.AA


def test_containers_and_predicted_like_spectra(make_galaxy):
    flux = [make_galaxy(z, wavelength=WAVELENGTH).flux.value for z in (0.07, 0.12)]
    together = from_arrays(WAVELENGTH, np.array(flux), lsf=2.0)
    one_by_one = [from_arrays(WAVELENGTH, f, lsf=2.0) for f in flux]
    expected = measure_properties(together)
    np.testing.assert_allclose(expected["redshift"], [0.07, 0.12], atol=1e-4)
    # No uncertainties came in: those of the indices are taken from the residuals.
    assert np.all(expected["dn4000_error"] > 0)
    assert not expected["lick_hbeta_error"].mask.any()
    for container in (one_by_one, SpectrumList(one_by_one), iter(one_by_one)):
        other = measure_properties(container)
        np.testing.assert_allclose(other["redshift"], expected["redshift"], atol=1e-8)
        np.testing.assert_allclose(other["lick_mgb"].value, expected["lick_mgb"].value, rtol=1e-6)


def test_collection(make_galaxy):
    spectra = [make_galaxy(z, signal_to_noise=20) for z in (0.05, 0.09)]
    for spectrum in spectra:
        spectrum.mask = np.zeros(spectrum.shape, bool)
    table = measure_properties(SpectrumCollection.from_spectra(spectra))
    np.testing.assert_allclose(table["redshift"], [0.05, 0.09], atol=2e-4)


def test_given_redshift_skips_the_search(galaxy, table, monkeypatch):
    def never(*_args, **_keywords):
        raise AssertionError("searched")

    monkeypatch.setattr("photospec.analysis.properties.measure_redshift", never)
    given = measure_properties(galaxy, redshift=0.06)
    assert given["redshift"][0] == 0.06
    assert given["redshift_error"].mask[0]
    assert float(given["lick_mgb"][0].value) == pytest.approx(
        float(table["lick_mgb"][0].value), rel=0.02
    )
    outside = measure_properties(galaxy, redshift=-0.5)
    assert outside["redshift"].mask[0]
    assert "redshift: -0.5 is not from" in outside["flags"][0]


def _bad_spectra(galaxy):
    arrays = to_arrays(galaxy)
    wavelength, flux, sigma = arrays.wavelength, arrays.flux[0], arrays.sigma[0]
    rest = from_arrays(wavelength / 1.06, flux, sigma=sigma)
    repeated = galaxy.spectral_axis.value.copy()
    repeated[100] = repeated[101]
    from specutils import Spectrum

    return {
        "constant flux": from_arrays(wavelength, np.full(flux.size, 3.0), sigma=sigma),
        "flux is not positive": from_arrays(wavelength, -flux, sigma=sigma),
        "all pixels are masked": from_arrays(wavelength, flux, mask=np.ones(flux.size, bool)),
        "masked": from_arrays(wavelength, flux, sigma=np.zeros(flux.size)),
        "all pixels": from_arrays(wavelength, flux, sigma=np.full(flux.size, np.nan)),
        "only 3 pixels": from_arrays(wavelength[:3], flux[:3]),
        "unreadable: spectrum: expected a spectral axis that runs one way": Spectrum(
            flux=galaxy.flux, spectral_axis=repeated * u.AA
        ),
        "only 1 pixels": from_arrays(wavelength[:1], flux[:1]),
        "ZERO_REDSHIFT": rest,
        "SMALL_DELTA_CHI2": from_arrays(
            wavelength, 1 + np.random.default_rng(0).normal(size=flux.size), sigma=sigma * 0 + 1
        ),
        "unreadable": "not a spectrum",
    }


def test_bad_spectra_are_masked_with_the_reason_and_stop_nothing(galaxy, table):
    bad = _bad_spectra(galaxy)
    result = measure_properties([*bad.values(), galaxy], n_processes=1)
    assert len(result) == len(bad) + 1
    for reason, row in zip(bad, result, strict=False):
        assert reason in row["flags"], (reason, row["flags"])
        assert result["redshift"].mask[row.index], reason
    assert result["redshift"][-1] == table["redshift"][0]
    assert result["lick_mgb"][-1] == table["lick_mgb"][0]


def test_shuffled_wavelengths_are_refused(galaxy):
    from dataclasses import replace

    from photospec.analysis import fit_populations

    shuffled = np.random.default_rng(0).permutation(galaxy.spectral_axis.value)
    with pytest.raises(ValueError, match="strictly increasing"):  # specutils' own words
        from_arrays(shuffled, galaxy.flux.value)
    arrays = replace(to_arrays(galaxy), wavelength=shuffled)
    assert "not strictly increasing" in measure_properties(arrays)["flags"][0]
    with pytest.raises(InputError, match="wavelength: expected increasing"):
        fit_populations(arrays, 0.06)


def test_redshift_out_of_range_is_masked(make_galaxy):
    table = measure_properties(make_galaxy(0.3, signal_to_noise=20), redshift_range=(0, 0.2))
    assert table["redshift"].mask[0]
    assert table["halpha_flux"].mask[0]
    assert "OUT_OF_RANGE (0.3000" in table["flags"][0]


def test_spectrum_without_lines_or_indices_inside(make_galaxy):
    spectrum = make_galaxy(0.0, wavelength=np.arange(5450.0, 5670.0, 0.5), signal_to_noise=50)
    table = measure_properties(spectrum, redshift=0.0)
    assert table["lick_mgb"].mask[0]
    assert table["dn4000"].mask[0]
    assert "outside the spectrum" in table["flags"][0]


def test_processes_give_the_same_numbers(galaxy, make_galaxy, table):
    spectra = [galaxy, from_arrays([1.0, 2.0, 3.0], [1, 2, 3]), *[make_galaxy(0.1)] * 3, galaxy]
    spectra[2].meta["not to be pickled"] = lambda: None
    result = measure_properties(spectra, n_processes=2)
    for name in ("redshift", "velocity_dispersion", "age_mass_weighted_error", "halpha_flux"):
        assert result[name][0] == result[name][-1] == table[name][0]
    assert "only 3 pixels" in result["flags"][1]


def test_a_dead_worker_costs_one_task():
    # Raising SIGCHLD does nothing, SIGKILL ends the worker at once.
    tasks = [(signal.SIGCHLD,), (signal.SIGKILL,), (signal.SIGCHLD,)]
    results = list(map_in_processes(signal.raise_signal, tasks, 1, lambda number: "lost"))
    assert results == [None, "lost", None]


def test_scripts_need_no_main_guard_and_no_torch(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "import numpy as np\n"
        "from photospec.analysis import measure_indices, measure_properties\n"
        "from photospec.spectrum import WAVELENGTH, from_arrays\n"
        "spectra = from_arrays(WAVELENGTH, np.ones((10, WAVELENGTH.size)))\n"
        "print(len(measure_properties(spectra, n_processes=2)), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=500)
    assert done.stdout.split() == ["10", "False"]


def test_progress_bar(capsys):
    spectra = from_arrays(WAVELENGTH, np.ones((3, WAVELENGTH.size)))
    measure_properties(spectra, progress=True)
    assert "3/3" in capsys.readouterr().err
    measure_properties(spectra)
    assert capsys.readouterr().err == ""


def test_galactic_extinction_is_taken_off(make_galaxy, table):
    from photospec.dust import galactic_extinction

    arrays = to_arrays(make_galaxy(0.06, lines=2.0, signal_to_noise=25))
    dimmed = 10 ** (-0.4 * 0.1 * galactic_extinction(arrays.wavelength))
    spectrum = from_arrays(
        arrays.wavelength, arrays.flux[0] * dimmed, sigma=arrays.sigma[0] * dimmed, lsf=1.0
    )
    result = measure_properties(spectrum, galactic_ebv=0.1, redshift=table["redshift"][0])
    for name in ("dn4000", "lick_mgb", "halpha_flux", "velocity_dispersion"):
        value, expected = (float(u.Quantity(t[name][0]).value) for t in (result, table))
        assert value == pytest.approx(expected, rel=1e-3), name


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"redshift": [0.1, 0.2]}, "redshift: expected one number or 1 numbers"),
        ({"redshift": "high"}, "redshift: expected one number"),
        ({"n_processes": 0}, "n_processes: expected a whole number of at least 1"),
        ({"n_processes": 1.5}, "n_processes: expected a whole number of at least 1"),
        ({"redshift_range": (1, 0)}, "redshift_range: expected two increasing numbers"),
        ({"galactic_ebv": -1}, "galactic_ebv: expected no negative number"),
        ({"n_bootstrap": -1}, "n_bootstrap: expected a whole number"),
        ({"seed": 0.5}, "seed: expected a whole number"),
        ({"templates": "missing.npz"}, "templates"),
    ],
)
def test_bad_arguments_are_one_line(galaxy, keywords, message):
    with pytest.raises(InputError, match=message) as error:
        measure_properties(galaxy, **keywords)
    assert "\n" not in str(error.value)


def test_no_spectra():
    with pytest.raises(InputError, match="at least one spectrum"):
        measure_properties([])


def test_observed_spectra(shared):
    """Redshifts, and a flag on the doubtful one."""
    paths = sorted((shared / "real" / "spectra").glob("spec-*.fits"))[-3:]
    table = measure_properties([read_spectrum(path) for path in paths])
    for path, row in zip(paths, table, strict=True):
        with fits.open(path) as hdus:
            reference = hdus[2].data[0]
        if reference["ZWARNING"]:
            assert table["redshift"].mask[row.index]
            assert "SMALL_DELTA_CHI2" in row["flags"]
        else:
            assert row["redshift"] == pytest.approx(reference["Z"], abs=3e-4)
