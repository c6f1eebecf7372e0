"""photospec measure: what its exit status says, and that one bad file never ends the rest."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from photospec.cli import main
from photospec.spectrum import from_arrays, vacuum_to_air, write_spectra
from photospec.spectrum.headers import FLUX_UNIT

WAVE = np.arange(4800.0, 5600.0, 2.0)
BAD = 2  # nothing could be used
PARTIAL = 1


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def good(name="good.fits", n=1):
    flux = 5 + np.sin(WAVE / 40) + np.zeros((n, WAVE.size))
    write_spectra(name, from_arrays(WAVE, flux, sigma=0.1, lsf=1.0))
    return name


def image(name, unit):
    cards = {"CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRVAL1": 4800.0, "CDELT1": 2.0, "BUNIT": unit}
    fits.PrimaryHDU(5 + np.sin(WAVE / 40), fits.Header({"CRPIX1": 1.0, **cards})).writeto(name)
    return name


def measure(*args):
    return main(["measure", "--quiet", "-o", "t.ecsv", "--overwrite", "--redshift", "0.02", *args])


def errors(capsys):
    return capsys.readouterr().err.strip().splitlines()


def test_good_files(capsys):
    assert measure(good(), good("two.fits", 2)) == 0
    assert not errors(capsys)
    table = QTable.read("t.ecsv")
    assert list(table["file"]) == ["good.fits", "two.fits", "two.fits"]


def test_verbose_tells_of_each_spectrum(capsys):
    assert measure(good(), good("two.fits", 2), "--verbose") == 0
    told = [line for line in errors(capsys) if "z = 0.02" in line]
    names = [line.split("info: ")[1].split(": z")[0] for line in told]
    assert names == ["good.fits", "two.fits", "two.fits"]
    assert all("flags: " in line for line in told)


@pytest.mark.parametrize(("unit", "word"), [("", "no unit"), ("adu", "got adu"), ("K", "got K")])
def test_a_file_that_cannot_be_used_is_exit_2(unit, word, capsys):
    assert measure(image("bad.fits", unit)) == BAD
    (line,) = errors(capsys)
    assert "bad.fits" in line
    assert word in line
    assert QTable.read("t.ecsv")["flags"][0].startswith("unreadable")


def test_ampere_is_read_as_angstrom():
    assert measure(image("a.fits", "1e-17 erg/cm2/s/A")) == 0


def test_masked_and_empty_spectra_are_exit_2(capsys):
    write_spectra("m.fits", from_arrays(WAVE, np.ones(WAVE.size), mask=np.ones(WAVE.size, bool)))
    assert measure("m.fits") == BAD
    (line,) = errors(capsys)
    assert "m.fits: nothing could be measured (all pixels are masked" in line


def test_one_bad_file_never_ends_the_rest(capsys):
    bad = "text.fits"
    Path(bad).write_text("no spectrum")
    table = fits.BinTableHDU.from_columns([fits.Column("loglam", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto("odd.fits")
    several = [bad, "missing.fits", "odd.fits", image("adu.fits", "adu"), good()]
    assert measure(*several, "--figure", "f.png") == PARTIAL
    lines = errors(capsys)
    for name in several[:-1]:
        assert sum(name in line for line in lines) == 1, name
    assert "4 of 5 files failed" in lines[-1]
    assert list(QTable.read("t.ecsv")["file"]) == ["adu.fits", "good.fits"]


def test_many_spectra_without_a_unit_are_one_row(capsys):
    cards = {"CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRVAL1": 4800.0, "CDELT1": 2.0}
    fits.PrimaryHDU(np.ones((3, WAVE.size)), fits.Header(cards)).writeto("many.fits")
    assert measure("many.fits", good()) == PARTIAL
    assert list(QTable.read("t.ecsv")["file"]) == ["many.fits", "good.fits"]


def test_files_with_spectra_on_grids_of_their_own():
    wave = np.stack([WAVE, WAVE + 0.5])
    table = QTable({"wave": wave, "flux": 5 + np.sin(wave / 40)})
    table["wave"].unit, table["flux"].unit = "Angstrom", "1e-17 erg/(s cm2 Angstrom)"
    QTable(table).write("own.fits")
    assert measure("own.fits", good()) == 0
    assert list(QTable.read("t.ecsv")["file"]) == ["own.fits", "own.fits", "good.fits"]


def text(name, flux, wave=WAVE):
    np.savetxt(name, np.column_stack([wave, flux, 0.1 * np.abs(flux)]))
    return name


def test_units_that_a_text_file_leaves_out(capsys):
    """The same galaxy in other clothes: what the options say goes to the reader."""
    flux = 5 + np.sin(WAVE / 40)
    per_frequency = (flux * FLUX_UNIT).to_value("mJy", u.spectral_density(WAVE * u.AA))
    mine = text("mine.txt", flux)
    assert measure(mine) == BAD
    assert "flux_unit" in errors(capsys)[0]
    given = ["--flux-unit", str(FLUX_UNIT), "--wavelength-unit", "Angstrom"]
    assert measure(mine, *given) == 0
    first = QTable.read("t.ecsv")
    janskys = ["--flux-unit", "mJy", "--wavelength-unit", "nm"]
    assert measure(text("mjy.txt", per_frequency, WAVE / 10), *janskys) == 0
    second = QTable.read("t.ecsv")
    in_air = vacuum_to_air(WAVE)
    assert measure(text("air.txt", flux, in_air), *given, "--medium", "air") == 0
    third = QTable.read("t.ecsv")
    for table in (second, third):
        for name in ("lick_hbeta", "lick_mgb", "hbeta_flux"):
            assert table[name][0].value == pytest.approx(first[name][0].value, rel=1e-3), name
    assert measure(text("wrong.txt", flux, in_air), *given) == 0
    shifted = QTable.read("t.ecsv")["lick_hbeta"][0].value
    assert shifted != pytest.approx(first["lick_hbeta"][0].value, rel=1e-3)


def test_units_that_contradict_a_file_or_are_none(capsys):
    assert measure(image("a.fits", "mJy"), "--flux-unit", "Jy") == BAD
    (line,) = errors(capsys)
    assert "a.fits: flux_unit" in line
    for option, unit in (("--flux-unit", "kg"), ("--wavelength-unit", "Jy"), ("--flux-unit", "x")):
        assert measure(good(f"g{unit}.fits"), option, unit) == BAD
        (line,) = errors(capsys)
        assert f"{option}: expected a" in line
        assert f"got '{unit}'" in line
