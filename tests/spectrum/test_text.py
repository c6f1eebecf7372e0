"""Text files: names and units in the header or given, and what is missing is said."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from photospec.errors import InputError
from photospec.spectrum import FLUX_UNIT, read_spectrum, to_arrays

WAVE = 4000.0 + 5 * np.arange(200)
FLUX = 5 + np.sin(np.arange(200) / 30)
SIGMA = 0.1 + 0.001 * np.arange(200)
UNIT = "1e-17 erg/(s cm2 Angstrom)"
GIVEN = {"flux_unit": UNIT, "wavelength_unit": "Angstrom"}
ROWS2 = [f"{a} {b!r}" for a, b in zip(WAVE.tolist(), FLUX.tolist(), strict=True)]
ROWS3 = [f"{row} {c!r}" for row, c in zip(ROWS2, SIGMA.tolist(), strict=True)]


def save(path, lines, header=(), delimiter=" "):
    path.write_text("\n".join([*header, *(line.replace(" ", delimiter) for line in lines)]) + "\n")
    return path


def check(spectrum, *, sigma=True):
    arrays = to_arrays(spectrum)
    np.testing.assert_allclose(arrays.wavelength, WAVE)
    np.testing.assert_allclose(arrays.flux[0], FLUX)
    if sigma:
        np.testing.assert_allclose(arrays.sigma[0], SIGMA)
    else:
        assert arrays.sigma is None


def refused(path, match, **given):
    with pytest.raises(InputError, match=match) as caught:
        read_spectrum(path, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.dat", "a.ascii", "a.csv", "a"])
@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ", ", ";"])
def test_numbers_alone_need_units(tmp_path, name, delimiter):
    path = save(tmp_path / name, ROWS2, ["# NGC 1234", ""], delimiter)
    refused(path, r"units of wavelength and flux, got none.*wavelength_unit='Angstrom', flux_unit")
    refused(path, "units of flux, got none", wavelength_unit="nm")
    check(read_spectrum(path, **GIVEN), sigma=False)
    given = {"flux_unit": FLUX_UNIT, "wavelength_unit": u.AA}
    check(read_spectrum(save(path, ROWS3, (), delimiter), **given))


def test_given_units_count(tmp_path):
    path = save(tmp_path / "a.txt", ROWS3)
    arrays = to_arrays(read_spectrum(path, flux_unit="mJy", wavelength_unit="nm"))
    np.testing.assert_allclose(arrays.wavelength, 10 * WAVE)
    density = u.spectral_density(10 * WAVE * u.AA)
    np.testing.assert_allclose(arrays.flux[0], (FLUX * u.mJy).to_value(FLUX_UNIT, density))
    np.testing.assert_allclose(arrays.sigma[0], (SIGMA * u.mJy).to_value(FLUX_UNIT, density))


@pytest.mark.parametrize(
    "header",
    [
        "# wavelength [Angstrom]  flux [1e-17 erg/s/cm2/A]  error",
        "# wave(Angstrom) flux(1e-17 erg/(s cm2 Angstrom)) err(1e-17 erg/(s cm2 Angstrom))",
        "wave[AA],flux[10^-17 erg/cm^2/s/Ang],sigma",
    ],
)
def test_header_with_units(tmp_path, header):
    path = save(tmp_path / "a.txt", ROWS3, ["# a comment", header], "," if "," in header else " ")
    check(read_spectrum(path))
    with pytest.raises(InputError, match="flux_unit: expected none, got mJy, but column flux says"):
        read_spectrum(path, flux_unit="mJy")
    check(read_spectrum(path, **GIVEN))  # the same as the file says


def test_header_of_names(tmp_path):
    rows = [
        f"{np.log10(a)!r} 7 {c**-2!r} {b!r}".replace("np.float64(", "").replace(")", "")
        for a, b, c in zip(WAVE, FLUX, SIGMA, strict=True)
    ]
    path = save(tmp_path / "a.csv", rows, ["loglam,sky,ivar,flux"], ",")
    refused(path, "units of flux, got none")
    check(read_spectrum(path, flux_unit=UNIT))
    path = save(tmp_path / "a.csv", rows, ["loglam,sky,ivar,light"], ",")
    refused(path, "expected names of columns.*got loglam, sky, ivar, light", **GIVEN)
    refused(save(tmp_path / "b.txt", rows), "got 4 columns without names", **GIVEN)


@pytest.mark.parametrize(("kind", "name"), [("ecsv", "a.ecsv"), ("ecsv", "a.txt"),
                                            ("ipac", "a.tbl"), ("ipac", "a.dat")])  # fmt: skip
def test_tables_with_units(tmp_path, kind, name):
    columns = {"wavelength": WAVE * u.AA, "flux": FLUX * FLUX_UNIT, "err": SIGMA * FLUX_UNIT}
    Table(columns).write(tmp_path / name, format=f"ascii.{kind}")
    check(read_spectrum(tmp_path / name))


def test_missing_values_are_masked(tmp_path):
    rows = [*ROWS3]
    rows[7] = f"{WAVE[7]} nan 0.1"
    arrays = to_arrays(read_spectrum(save(tmp_path / "a.txt", rows), **GIVEN))
    assert np.flatnonzero(arrays.mask[0]).tolist() == [7]


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["no spectrum", "at all"], "text file with columns of numbers, got .* without any"),
        (["1 2", "3"], "expected 2 numbers, got 1 in line 2"),
        (["1 2", "3 x"], "expected numbers, got '3 x' in line 2"),
        (["1 " * 20_000], "expected lines of at most 20000 characters"),
        ([""], "columns of numbers"),
    ],
)
def test_no_columns_of_numbers(tmp_path, lines, match):
    refused(save(tmp_path / "a.txt", lines), match, **GIVEN)


def test_units_are_checked(tmp_path):
    path = save(tmp_path / "a.txt", ROWS2)
    refused(path, "flux_unit.*got 'furlong'", flux_unit="furlong", wavelength_unit="AA")
    refused(
        path,
        "wavelength_unit: expected a unit of wavelength.*got ''",
        flux_unit=UNIT,
        wavelength_unit="",
    )
