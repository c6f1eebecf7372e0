"""Files of others: kinds told apart, units, medium, frame and errors as the files say."""

import gzip

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty
from astropy.table import QTable, Table
from specutils import Spectrum, SpectrumList

from photospec.errors import InputError
from photospec.spectrum import FLUX_UNIT, air_to_vacuum, read_spectrum, to_arrays, vacuum_to_air

N = 400
LINEAR = 4000.0 + 10.0 * np.arange(N)
LOG = 10 ** (3.6 + 1e-3 * np.arange(N))
RNG = np.random.default_rng(7)
FLUX = 5 + np.sin(np.arange(N) / 30) + RNG.random(N)
SIGMA = 0.1 + 0.05 * RNG.random(N)
BAD = np.zeros(N, bool)
BAD[[5, 200]] = True
IVAR = np.where(BAD, 0.0, SIGMA**-2.0)
UNIT = "1e-17 erg/(s cm2 Angstrom)"


def check(spectrum, wavelength, *, n=1, sigma=True, mask=BAD, scale=1.0, rtol=1e-6):
    arrays = to_arrays(spectrum)
    assert arrays.flux.shape == (n, N)
    np.testing.assert_allclose(arrays.wavelength, wavelength, rtol=1e-7)
    for i in range(n):
        np.testing.assert_allclose(arrays.flux[i], scale * (i + 1) * FLUX, rtol=rtol)
        np.testing.assert_array_equal(arrays.mask[i], mask)
        if sigma:
            np.testing.assert_allclose(arrays.sigma[i, ~mask], scale * SIGMA[~mask], rtol=rtol)
    if not sigma:
        assert arrays.sigma is None
    return arrays


def save(path, *hdus):
    fits.HDUList(list(hdus)).writeto(path, overwrite=True)
    return path


def refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        read_spectrum(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


# ---------------------------------------------------------------- surveys


CARDS = {"COEFF0": 3.6, "COEFF1": 1e-3}


def plate(n=5, **cards):
    flux = np.outer(np.arange(1, n + 1), FLUX)
    primary = fits.PrimaryHDU(flux, fits.Header({**CARDS, "PLATEID": 266, **cards}))
    zero, ivar = np.zeros((n, N), "i4"), np.tile(IVAR, (n, 1))
    dispersion = np.where(BAD, 0.0, np.ones((n, 1)) * 1.5)
    table = fits.BinTableHDU(Table({"FIBERID": np.arange(n) + 1, "RA": np.arange(n) + 150.0}))
    return [primary, fits.ImageHDU(ivar), fits.ImageHDU(zero), fits.ImageHDU(zero),
            fits.ImageHDU(dispersion), table, fits.ImageHDU(flux)]  # fmt: skip


@pytest.mark.parametrize("n", [1, 3, 5, 12])
def test_plates(tmp_path, n):
    spectrum = read_spectrum(save(tmp_path / "spPlate-0266-51630.fits", *plate(n)))
    arrays = check(spectrum, LOG, n=n)
    np.testing.assert_allclose(arrays.lsf, np.tile(1.5e-3 * np.log(10) * LOG, (n, 1)))
    assert spectrum.meta["fiber"] == list(range(1, n + 1))
    assert spectrum.meta["wavelength_medium"] == "vacuum"


def test_one_spspec(tmp_path):
    header = fits.Header({**CARDS, "FIBERID": 10, "BUNIT": "1.0E-16 erg/cm/s/Ang", "VACUUM": True})
    rows = np.array([FLUX, 0 * FLUX, np.where(BAD, 0, SIGMA), 0 * FLUX, FLUX])
    spectrum = read_spectrum(save(tmp_path / "spSpec.fit", fits.PrimaryHDU(rows, header)))
    check(spectrum, LOG, scale=10.0)


def test_coeff0_is_no_proof(tmp_path):
    header = fits.Header(CARDS)
    refused(save(tmp_path / "a.fits", fits.PrimaryHDU(np.ones((5, N)), header)), "which survey")
    refused(save(tmp_path / "b.fits", fits.PrimaryHDU(np.ones((7, N)), header)), "shape .7, 400")


@pytest.mark.parametrize("cards", [{"TELESCOP": "LAMOST"}, {"DATA_V": "LAMOST DR5"}])
def test_lamost(tmp_path, cards):
    header = fits.Header({**CARDS, **cards, "VACUUM": True, "HELIO": True})
    rows = np.stack([FLUX, IVAR, LINEAR, 0 * FLUX, 0 * FLUX])
    columns = {"FLUX": FLUX, "IVAR": IVAR, "WAVELENGTH": LINEAR, "ANDMASK": 0 * FLUX}
    table = fits.BinTableHDU(Table({name: [row] for name, row in columns.items()}))
    for hdus in ([fits.PrimaryHDU(rows, header)], [fits.PrimaryHDU(header=header), table]):
        spectrum = read_spectrum(save(tmp_path / "lamost.fits", *hdus))
        check(spectrum, LINEAR)
        assert spectrum.meta["flux_calibration"] == "relative"
        assert spectrum.meta["spectral_frame"] == "heliocentric"
    refused(save(tmp_path / "a.fits", fits.PrimaryHDU(np.ones((2, 9)), header)), "LAMOST")
    other = fits.BinTableHDU(Table({"FLUX": [1.0]}))
    refused(save(tmp_path / "a.fits", fits.PrimaryHDU(header=header), other), "got no ivar")


def sdss(unit=None, loglam=None, **units):
    loglam = np.log10(LINEAR) if loglam is None else loglam
    table = QTable({"loglam": loglam, "flux": FLUX, "ivar": IVAR})
    hdu = fits.BinTableHDU(table)
    for i, name in enumerate(("axis", "flux", "ivar"), 1):
        if name in units:
            hdu.header[f"TUNIT{i}"] = units[name]
    return [fits.PrimaryHDU(header=fits.Header({"BUNIT": unit} if unit else {})), hdu]


@pytest.mark.parametrize(
    ("units", "scale"),
    [
        ({}, 1),
        ({"unit": "1E-17 erg/cm^2/s/Ang"}, 1),
        ({"unit": "1E-16 erg/cm^2/s/Ang"}, 10),
        ({"flux": "1E-16 erg/cm^2/s/Ang"}, 10),
        ({"unit": "Jy", "flux": "1E-16 erg/cm^2/s/Ang", "ivar": "1e32 s2 cm4 A2/erg2"}, 10),
        ({"flux": "1E-17 erg/cm^2/s/Ang", "axis": "log10(Angstrom)"}, 1),
        ({"axis": "dex(nm)", "shift": -1}, 1),
    ],
)
def test_sdss_tables_say_their_units(tmp_path, units, scale):
    units = dict(units)
    shift = units.pop("shift", 0)
    path = save(tmp_path / "spec.fits", *sdss(loglam=np.log10(LINEAR) + shift, **units))
    check(read_spectrum(path), LINEAR, scale=scale)


def test_sdss_tables_whose_units_make_no_sense(tmp_path):
    refused(save(tmp_path / "a.fits", *sdss(flux="furlong")), "TUNIT of flux.*misspelt")
    refused(save(tmp_path / "a.fits", *sdss(flux="Jy", ivar="Jy")), "ivar.*copied from the flux")


def test_what_follows_the_table_does_not_matter(tmp_path):
    picture = fits.ImageHDU(np.zeros((3, 3)))
    check(read_spectrum(save(tmp_path / "a.fits", *sdss(), picture)), LINEAR)
    empty = fits.BinTableHDU(Table({"Z": np.zeros(0)}))
    check(read_spectrum(save(tmp_path / "b.fits", *sdss(), empty)), LINEAR)
    third = fits.BinTableHDU(Table({"Z": [0.1], "CLASS": ["GALAXY"]}))
    spectrum = read_spectrum(save(tmp_path / "c.fits", *sdss(), third))
    assert spectrum.meta["sdss"] == {"z": 0.1, "class": "GALAXY"}
    assert to_arrays(spectrum).redshift is None


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("wave", "flux", "error", "kind"),
    [
        ("wavelength", "flux", "error", "std"),
        ("WAVE", "FLUX", "ERR", "std"),
        ("lambda", "f_lambda", "ivar", "ivar"),
        ("spectral_axis", "flux", "uncertainty", "std"),
        ("lam", "flam", "variance", "var"),
    ],
)
@pytest.mark.parametrize("unit", [UNIT, "mJy", "W/(m2 um)"])
def test_tables_by_the_names_of_their_columns(tmp_path, wave, flux, error, kind, unit):
    density = u.spectral_density(LINEAR * u.AA)
    values, sigma = ((x * FLUX_UNIT).to(unit, density) for x in (FLUX, SIGMA))
    power = {"std": 1, "var": 2, "ivar": -2}[kind]
    with np.errstate(divide="ignore"):
        sigma = np.where(BAD, 0.0 if kind == "ivar" else np.nan, 1) * sigma**power
    # A column in the unit of the flux that is no error stands before it.
    table = QTable({wave: (LINEAR / 10) * u.nm, flux: values, "model": 2 * values, error: sigma})
    path = tmp_path / "table.fits"
    table.write(path)
    check(read_spectrum(path), LINEAR)
    table[wave, flux, error].write(tmp_path / "table.ecsv")
    check(read_spectrum(tmp_path / "table.ecsv"), LINEAR)
    # One spectrum per row, as the ESO archive has it, compressed.
    row = QTable({name: table[name].reshape(1, -1) for name in table.colnames})
    row.write(path, overwrite=True)
    (tmp_path / "row.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    check(read_spectrum(tmp_path / "row.fits.gz"), LINEAR)


def test_errors_per_frequency_beside_fluxes_per_wavelength(tmp_path):
    sigma = (SIGMA * FLUX_UNIT).to(u.mJy, u.spectral_density(LINEAR * u.AA))
    QTable({"wave": LINEAR * u.AA, "flux": FLUX * FLUX_UNIT, "ivar": sigma**-2}).write(
        tmp_path / "a.fits"
    )
    check(read_spectrum(tmp_path / "a.fits"), LINEAR, mask=np.zeros(N, bool))


def test_many_spectra_in_a_table(tmp_path):
    flux = np.outer([1, 2], FLUX) * FLUX_UNIT
    error, mask = np.tile(SIGMA, (2, 1)) * FLUX_UNIT, np.tile(BAD, (2, 1))
    wave = np.tile(LINEAR, (2, 1)) * u.AA
    by_row = QTable({"wave": wave, "flux": flux, "err": error, "mask": mask})
    by_row.write(tmp_path / "rows.fits")
    check(read_spectrum(tmp_path / "rows.fits"), LINEAR, n=2)
    columns = {"wave": LINEAR * u.AA, "flux": flux.T, "err": error.T, "mask": mask.T}
    QTable(columns).write(tmp_path / "columns.fits")
    check(read_spectrum(tmp_path / "columns.fits"), LINEAR, n=2)
    by_row["wave"][1] += 1 * u.AA
    by_row.write(tmp_path / "own.fits")
    found = read_spectrum(tmp_path / "own.fits")
    assert isinstance(found, SpectrumList)
    check(found[0], LINEAR)
    np.testing.assert_allclose(to_arrays(found[1]).wavelength, LINEAR + 1)


def test_tables_without_units_are_refused(tmp_path):
    Table({"wave": LINEAR, "flux": FLUX}).write(tmp_path / "a.fits")
    refused(tmp_path / "a.fits", "expected the units of wave and flux, got none")
    QTable({"wave": LINEAR * u.AA, "flux": FLUX}).write(tmp_path / "b.fits")
    refused(tmp_path / "b.fits", "expected the units of flux, got none; .* flux_unit='1e-17 erg")


def test_units_may_be_given(tmp_path):
    Table({"wave": LINEAR / 10, "flux": FLUX, "ivar": IVAR}).write(tmp_path / "a.fits")
    given = {"flux_unit": UNIT, "wavelength_unit": "nm"}
    check(read_spectrum(tmp_path / "a.fits", **given), LINEAR)
    path = save(tmp_path / "image.fits", image(unit=None, CUNIT1=None, CRVAL1=400.0, CDELT1=1.0))
    check(read_spectrum(path, **given), LINEAR, sigma=False, mask=0 * BAD)
    # Where the file says another one somebody is wrong.
    QTable({"wave": LINEAR * u.AA, "flux": FLUX * FLUX_UNIT}).write(tmp_path / "b.fits")
    for name, units in (("b.fits", given), ("image.fits", {**given, "flux_unit": "mJy"})):
        path = save(tmp_path / "image.fits", image()) if name == "image.fits" else tmp_path / name
        with pytest.raises(InputError, match=r"_unit: expected none, got .* says"):
            read_spectrum(path, **units)
    path = save(tmp_path / "plate.fits", *plate())
    with pytest.raises(InputError, match="flux_unit, wavelength_unit: expected neither"):
        read_spectrum(path, flux_unit="mJy")


@pytest.mark.parametrize(
    ("name", "values", "cards"),
    [
        ("good", ~BAD, {}),
        ("GoodPix", (~BAD).astype("i2"), {}),
        ("dq", np.where(BAD, 4, 0), {}),
        ("mask", (~BAD).astype("i2"), {"DMODCLS": "OneSpec"}),  # of PypeIt
    ],
)
def test_columns_that_say_bad_or_good(tmp_path, name, values, cards):
    columns = {"wave": LINEAR * u.AA, "flux": FLUX * FLUX_UNIT, "err": SIGMA * FLUX_UNIT}
    hdu = fits.BinTableHDU(QTable({**columns, name: values}))
    hdu.header.update(cards)
    check(read_spectrum(save(tmp_path / "a.fits", fits.PrimaryHDU(), hdu)), LINEAR)


def test_every_mask_counts(tmp_path):
    first, second = BAD.copy(), BAD.copy()
    first[200] = second[5] = False
    columns = {"wave": LINEAR * u.AA, "flux": FLUX * FLUX_UNIT, "err": SIGMA * FLUX_UNIT}
    QTable({**columns, "mask": first, "dq": second}).write(tmp_path / "a.fits")
    check(read_spectrum(tmp_path / "a.fits"), LINEAR)


def test_every_table_of_spectra_is_read(tmp_path):
    def table(name, scale, start=0.0):
        columns = {"wave": (LINEAR + start) * u.AA, "flux": scale * FLUX * FLUX_UNIT}
        return fits.BinTableHDU(QTable({**columns, "ivar": IVAR / FLUX_UNIT**2}), name=name)

    hdus = [table("BLUE", 1), table("RED", 1, 1.0), table("SKY", 9)]
    found = read_spectrum(save(tmp_path / "a.fits", fits.PrimaryHDU(), *hdus))
    assert isinstance(found, SpectrumList)
    assert len(found) == 2
    check(found[0], LINEAR)
    check(found[1], LINEAR + 1)


@pytest.mark.parametrize(
    "cards", [{"AIRORVAC": "air"}, {"VACUUM": False}, {"TUCD1": "em.wl;obs.atmos"}, None]
)
def test_tables_in_air(tmp_path, cards):
    name = "wave" if cards else "wave_air"
    table = {name: vacuum_to_air(LINEAR) * u.AA, "flux": FLUX * FLUX_UNIT, "ivar": IVAR}
    hdu = fits.BinTableHDU(QTable(table))
    hdu.header.update(cards or {})
    spectrum = read_spectrum(save(tmp_path / "air.fits", fits.PrimaryHDU(), hdu))
    assert spectrum.meta["wavelength_medium"] == "air"
    check(spectrum, LINEAR)
    vacuum = read_spectrum(tmp_path / "air.fits", wavelength_medium="vacuum")
    np.testing.assert_allclose(to_arrays(vacuum).wavelength, vacuum_to_air(LINEAR))


# ---------------------------------------------------------------- images


def image(data=FLUX, *, unit=UNIT, **cards):
    header = {"CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRVAL1": 4000.0, "CDELT1": 10.0}
    header = {**header, "CRPIX1": 1.0, "BUNIT": unit, **cards}
    return fits.PrimaryHDU(data, fits.Header({k: v for k, v in header.items() if v is not None}))


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE1": "LINEAR", "CUNIT1": None},
        {"CTYPE1": None, "CUNIT1": None, "WAT1_001": "wtype=linear units=angstroms"},
        {"CDELT1": None, "CD1_1": 10.0},
        {"CDELT1": 1.0, "CD1_1": 10.0},
        {"CDELT1": 2.0, "PC1_1": 5.0},
        {"CUNIT1": "nm", "CRVAL1": 400.0, "CDELT1": 1.0},
        {"CUNIT1": "m", "CRVAL1": 4e-7, "CDELT1": 1e-9},
        {"CUNIT1": None, "CRVAL1": 4e-7, "CDELT1": 1e-9},  # SI, as the FITS standard has it
        {"CUNIT1": "Angstroms", "CRPIX1": 11.0, "CRVAL1": 4100.0},
        {"CUNIT1": "A"},
    ],
)
def test_axes_of_images(tmp_path, cards):
    path = save(tmp_path / "image.fits", image(**cards))
    check(read_spectrum(path), LINEAR, sigma=False, mask=0 * BAD)


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "LINEAR", "DC-FLAG": 1, "CRVAL1": 3.6, "CDELT1": 1e-3, "CUNIT1": None},
        {"CTYPE1": "LOGLAM", "CRVAL1": 3.6, "CDELT1": 1e-3, "CUNIT1": "Angstrom"},
        {"CTYPE1": "WAVE", "CRVAL1": 3.6, "CDELT1": 1e-3, "CUNIT1": "log10(Angstrom)"},
        {"CTYPE1": "LINEAR", "DC-FLAG": 1, "CRVAL1": 3.6, "CDELT1": None, "CD1_1": 1e-3},
        {"CTYPE1": "WAVE-LOG", "CRVAL1": 10**3.6, "CDELT1": 10**3.6 * 1e-3 * np.log(10)},
        {"CTYPE1": "WAVE-LOG", "CRVAL1": 10**-6.4, "CDELT1": 10**-6.4 * 1e-3 * np.log(10),
         "CUNIT1": None},
    ],
)  # fmt: skip
def test_logarithmic_axes(tmp_path, cards):
    path = save(tmp_path / "image.fits", image(**cards))
    check(read_spectrum(path), LOG, sigma=False, mask=0 * BAD)


def test_velocity_axes(tmp_path):
    rest = 6000.0
    cards = {"CTYPE1": "VOPT", "CUNIT1": "km/s", "RESTWAV": rest * 1e-10}
    c = 299792.458
    cards |= {"CRVAL1": (4000 / rest - 1) * c, "CDELT1": 10 / rest * c}
    path = save(tmp_path / "image.fits", image(**cards))
    check(read_spectrum(path), LINEAR, sigma=False, mask=0 * BAD)
    cards |= {"CTYPE1": "ZOPT", "CUNIT1": None, "CRVAL1": 4000 / rest - 1, "CDELT1": 10 / rest}
    path = save(tmp_path / "image.fits", image(**cards))
    check(read_spectrum(path), LINEAR, sigma=False, mask=0 * BAD)
    refused(save(tmp_path / "image.fits", image(**{**cards, "RESTWAV": None})), "expected RESTWAV")


@pytest.mark.parametrize(
    ("cards", "air"),
    [
        ({"CTYPE1": "AWAV"}, True),
        ({"AIRORVAC": "air"}, True),
        ({"VACUUM": False, "CTYPE1": "LINEAR"}, True),
        ({"AIRORVAC": "vac", "CTYPE1": "LINEAR"}, False),
        ({"CTYPE1": "LINEAR"}, False),
    ],
)
def test_images_in_air(tmp_path, cards, air):
    spectrum = read_spectrum(save(tmp_path / "image.fits", image(**cards)))
    assert spectrum.meta["wavelength_medium"] == ("air" if air else "vacuum")
    expected = air_to_vacuum(LINEAR) if air else LINEAR
    np.testing.assert_allclose(to_arrays(spectrum).wavelength, expected)


def test_an_image_that_contradicts_itself(tmp_path):
    path = save(tmp_path / "image.fits", image(CTYPE1="AWAV", AIRORVAC="vac"))
    refused(path, "got both")
    with pytest.raises(InputError, match="expected 'air' or 'vacuum', got 'oil'"):
        read_spectrum(path, wavelength_medium="oil")


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("ERR", SIGMA, None),
        ("UNCERT", SIGMA, UNIT),
        ("SIGMA", 0.1 * SIGMA, "1e-16 erg/(s cm2 Angstrom)"),
        ("VAR", SIGMA**2, None),
        ("VARIANCE", 1e-34 * SIGMA**2, "erg2/cm4/s2/A2"),
        ("IVAR", SIGMA**-2, "10**34 s2 cm4 Angstrom2/erg2"),
        ("STAT", SIGMA**2, None),  # variances, as MUSE and the ESO pipelines call them
        ("ERR", (SIGMA * FLUX_UNIT).to_value("mJy", u.spectral_density(LINEAR * u.AA)), "mJy"),
    ],
)
def test_error_extensions_have_their_own_unit(tmp_path, name, values, unit):
    error = fits.ImageHDU(values, fits.Header({"BUNIT": unit} if unit else {}), name=name)
    mask = fits.ImageHDU(4 * BAD.astype("i2"), name="DQ")
    check(read_spectrum(save(tmp_path / "image.fits", image(), error, mask)), LINEAR)


def test_an_error_extension_in_another_unit_is_refused(tmp_path):
    error = fits.ImageHDU(SIGMA, fits.Header({"BUNIT": UNIT}), name="IVAR")
    refused(save(tmp_path / "image.fits", image(), error), "extension IVAR.*copied from the flux")


def test_rows_and_columns_of_images(tmp_path):
    many = np.outer([1, 2, 3], FLUX)
    errors = fits.ImageHDU(np.tile(SIGMA, (3, 1)), name="ERR")
    path = save(tmp_path / "rows.fits", image(many), errors)
    check(read_spectrum(path), LINEAR, n=3, mask=0 * BAD)
    cards = {f"{key}2": image().header[f"{key}1"] for key in ("CTYPE", "CUNIT", "CRVAL", "CDELT")}
    blank = dict.fromkeys(("CTYPE1", "CUNIT1", "CRVAL1", "CDELT1", "CRPIX1"))
    column = image(many.T, **{**blank, **cards, "CRPIX2": 1.0})
    errors = fits.ImageHDU(np.tile(SIGMA, (3, 1)).T, name="ERR")
    check(read_spectrum(save(tmp_path / "columns.fits", column, errors)), LINEAR, n=3, mask=0 * BAD)
    cards = {**blank, **cards, "CRPIX2": 1.0, "CTYPE2": None, "DISPAXIS": 2}
    path = save(tmp_path / "iraf.fits", image(many.T, **cards), errors)
    check(read_spectrum(path), LINEAR, n=3, mask=0 * BAD)


def test_stacks_of_iraf(tmp_path):
    """apall: spectrum, background, raw spectrum and sigma along the third axis."""
    stack = np.stack([FLUX, 9 * FLUX, 8 * FLUX, SIGMA])[:, None, :]
    bands = (
        "spectrum: background median, weights variance, clean no",
        "background: background median",
        "raw: background median, weights none, clean no",
        "sigma: background median, weights variance, clean no",
    )
    bands = {f"BANDID{i}": text for i, text in enumerate(bands, 1)}
    path = save(tmp_path / "apall.fits", image(stack, CTYPE1="LINEAR", WCSDIM=3, **bands))
    check(read_spectrum(path), LINEAR, mask=0 * BAD)


def test_rows_with_names(tmp_path):
    """GAMA: spectrum, error, the same without flux calibration, sky."""
    rows = np.stack([9 * FLUX, FLUX, SIGMA, 8 * FLUX, SIGMA])
    names = ("Sky", "Spectrum", "Error", "Spectrum_unflux", "Error_unflux")
    cards = {f"ROW{i}": name for i, name in enumerate(names, 1)}
    check(read_spectrum(save(tmp_path / "gama.fits", image(rows, **cards))), LINEAR, mask=0 * BAD)
    rows[2] **= 2
    cards["ROW3"] = "Variance"
    check(read_spectrum(save(tmp_path / "gama.fits", image(rows, **cards))), LINEAR, mask=0 * BAD)


def test_one_row_with_coeff0(tmp_path):
    hdu = fits.PrimaryHDU(FLUX, fits.Header({**CARDS, "BUNIT": UNIT}))
    check(read_spectrum(save(tmp_path / "a.fits", hdu)), LOG, sigma=False, mask=0 * BAD)


def test_frames_are_told(tmp_path):
    spectrum = read_spectrum(save(tmp_path / "image.fits", image(SPECSYS="TOPOCENT")))
    assert to_arrays(spectrum).meta["spectral_frame"] == "topocentric"


@pytest.mark.parametrize("unit", ["adu", None])
def test_uncalibrated_images_are_read_and_refused_later(tmp_path, unit):
    """As specutils reads them; what they lack is said where it matters."""
    spectrum = read_spectrum(save(tmp_path / "image.fits", image(unit=unit)))
    with pytest.raises(InputError, match="expected a flux density"):
        to_arrays(spectrum)


def test_pictures_are_no_spectra(tmp_path):
    refused(save(tmp_path / "a.fits", fits.PrimaryHDU(np.ones((50, 60)))), "expected a spectrum")
    refused(save(tmp_path / "a.fits", fits.PrimaryHDU()), "expected a spectrum")
    refused(save(tmp_path / "a.fits", image(unit="furlong")), "BUNIT.*misspelt")


# ---------------------------------------------------------------- by specutils


def test_multispec_of_iraf(tmp_path):
    """Two apertures with dispersions of their own."""
    header = fits.Header({"WCSDIM": 2, "CTYPE1": "MULTISPE", "CTYPE2": "MULTISPE", "BUNIT": UNIT})
    header["WAT1_001"] = "wtype=multispec label=Wavelength units=angstroms"
    spec = [f'spec{i} = "{i} {i} {kind} {start} {step} {N} 0. 1. 2."' for i, kind, start, step in
            ((1, 0, 4000.0, 10.0), (2, 1, 3.6, 0.001))]  # fmt: skip
    text = "wtype=multispec " + " ".join(spec)
    for i in range(0, len(text), 68):
        header[f"WAT2_{i // 68 + 1:03d}"] = text[i : i + 68]
    path = save(tmp_path / "orders.fits", fits.PrimaryHDU(np.stack([FLUX, FLUX]), header))
    found = read_spectrum(path)
    assert isinstance(found, SpectrumList)
    check(found[0], LINEAR, sigma=False, mask=0 * BAD)
    check(found[1], LOG, sigma=False, mask=0 * BAD)


@pytest.mark.parametrize("name", ["a.fits", "wcs1d.fits"])
@pytest.mark.parametrize("kind", [StdDevUncertainty, InverseVariance])
def test_files_that_specutils_wrote(tmp_path, name, kind):
    error = kind(SIGMA * FLUX_UNIT if kind is StdDevUncertainty else SIGMA**-2 / FLUX_UNIT**2)
    spectrum = Spectrum(flux=FLUX * FLUX_UNIT, spectral_axis=LINEAR * u.AA, uncertainty=error)
    if "wcs" in name:
        header = image().header
        hdu = fits.ImageHDU(error.array, name="IVAR" if kind is InverseVariance else "STD")
        save(tmp_path / name, fits.PrimaryHDU(FLUX, header), hdu)
    else:
        spectrum.write(tmp_path / name, format="tabular-fits")
    check(read_spectrum(tmp_path / name), LINEAR, mask=0 * BAD)


AXIS = {"CRVAL1": 4000.0, "CRPIX1": 1.0, "CUNIT1": "Angstrom"}


def test_gama(tmp_path):
    """Rows of spectrum, error, both without flux calibration, and sky."""
    rows = ("Spectrum", "Error", "Spectrum_nofluxcal", "Error_nofluxcal", "Sky")
    cards = {"ORIGIN": "GAMA", "GAMANAME": "GAMAJ1", "CTYPE1": "Wavelength", "CD1_1": 10.0, **AXIS}
    cards |= {f"ROW{i}": name for i, name in enumerate(rows, 1)}
    data = np.stack([FLUX, np.where(BAD, 0.0, SIGMA), 50 * FLUX, 50 * SIGMA, 3 + FLUX])
    check(
        read_spectrum(save(tmp_path / "a.fits", fits.PrimaryHDU(data, fits.Header(cards)))), LINEAR
    )
    cards["CTYPE1"] = "AWAV"
    found = read_spectrum(save(tmp_path / "a.fits", fits.PrimaryHDU(data, fits.Header(cards))))
    check(found, air_to_vacuum(LINEAR))


def test_the_combination_of_exposures_is_the_spectrum(tmp_path):
    """OzDES: combined spectrum, variance, bad pixels; then the same of every exposure."""
    cards = {"CTYPE1": "WAVE", "CDELT1": 10.0, "BUNIT": UNIT, **AXIS}
    variance = {**cards, "BUNIT": "1e-34 erg2/(s2 cm4 Angstrom2)"}
    hdus = []
    for scale in (1.0, 1.1, 0.9):
        for data, header in ((scale * FLUX, cards), (SIGMA**2, variance), (0 * FLUX, {})):
            hdus.append(fits.ImageHDU(data, fits.Header(header)))
    primary = fits.PrimaryHDU(FLUX, fits.Header({**cards, "REFERENC": "ozdes DR2"}))
    path = save(tmp_path / "a.fits", primary, *hdus[1:])
    check(read_spectrum(path), LINEAR, mask=0 * BAD)


@pytest.mark.parametrize("kind", ["6dF", "2SLAQ", "2dFGRS"])
def test_counts_of_surveys_are_refused_in_one_line(tmp_path, kind):
    """Read, but not measured: their fluxes are not calibrated."""
    if kind == "6dF":
        cards = dict.fromkeys(("OBSRA", "OBSDEC", "Z", "Z_HELIO", "QUALITY"), 1.0)
        header = fits.Header({**cards, "CDELT1": 10.0, **AXIS, "CUNIT1": "Angstroms"})
        hdus = [fits.PrimaryHDU(np.stack([FLUX, SIGMA**2, FLUX]), header)]
    elif kind == "2SLAQ":
        header = fits.Header({"MSTITLE": "2dF-SDSS LRG/QSO survey", "CD1_1": 10.0, **AXIS})
        hdus = [fits.PrimaryHDU(np.stack([FLUX, 9 * FLUX])[:, None], header)]
    else:
        header = fits.Header({"IMAGE": "SPECTRUM", "CDELT1": 10.0, **AXIS})
        hdus = [
            fits.PrimaryHDU(np.zeros((5, 5)), fits.Header({"IMAGE": "SKYCHART"})),
            fits.ImageHDU(np.stack([FLUX, SIGMA**2, FLUX]), header),
        ]
    found = read_spectrum(save(tmp_path / "a.fits", *hdus))
    found = found[0] if isinstance(found, SpectrumList) else found  # 2SLAQ gives its sky, too
    np.testing.assert_allclose(found.flux.value, FLUX)
    with pytest.raises(InputError, match=r"expected a flux density such as .*, got ct"):
        to_arrays(found)


@pytest.mark.parametrize("n", [1, 2])
def test_jwst(tmp_path, n):
    density = u.spectral_density(LINEAR * u.AA)
    flux, sigma = (FLUX * FLUX_UNIT).to(u.Jy, density), (SIGMA * FLUX_UNIT).to(u.Jy, density)
    columns = {"WAVELENGTH": (LINEAR * u.AA).to(u.um), "FLUX": flux, "FLUX_ERROR": sigma}
    columns["FLUX"][BAD] = np.nan
    hdus = [fits.BinTableHDU(QTable(columns), name="EXTRACT1D") for _ in range(n)]
    for hdu in hdus:
        hdu.header["SRCTYPE"] = "POINT"
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST"}))
    path = save(tmp_path / "x1d.fits", primary, *hdus, fits.ImageHDU(np.zeros(3), name="ASDF"))
    found = read_spectrum(path)
    for spectrum in found if n == 2 else [found]:
        arrays = to_arrays(spectrum)
        np.testing.assert_allclose(arrays.wavelength, LINEAR)
        np.testing.assert_array_equal(arrays.mask[0], BAD)
        np.testing.assert_allclose(arrays.flux[0, ~BAD], FLUX[~BAD])
        np.testing.assert_allclose(arrays.sigma[0, ~BAD], SIGMA[~BAD])


def test_formats_that_are_lists_only(tmp_path):
    """Data Central gives the sky beside the galaxy, and both only as SpectrumList."""
    from astropy.io import registry

    def load(path, **_):
        axis = LINEAR * u.AA
        science = Spectrum(flux=FLUX * FLUX_UNIT, spectral_axis=axis, meta={"purpose": "reduced"})
        sky = Spectrum(flux=9 * FLUX * FLUX_UNIT, spectral_axis=axis, meta={"purpose": "sky"})
        return SpectrumList([sky, science])

    def identify(origin, path, *_args, **_kwargs):
        return origin == "read" and str(path).endswith("listed.fits")

    registry.register_reader("only-a-list", SpectrumList, load)
    registry.register_identifier("only-a-list", SpectrumList, identify)
    try:
        path = save(tmp_path / "listed.fits", fits.PrimaryHDU(np.ones((2, 3))))
        check(read_spectrum(path), LINEAR, sigma=False, mask=0 * BAD)
    finally:
        registry.unregister_reader("only-a-list", SpectrumList)
        registry.unregister_identifier("only-a-list", SpectrumList)


# ---------------------------------------------------------------- DESI


def coadd(dead=(), lsf=(1.0, 2.0, 3.0), resolution=True):
    table = Table({"TARGETID": [7, 8], "TARGET_RA": [150.0, 151.0], "TARGET_DEC": [2.0, 3.0]})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(table, name="FIBERMAP")]
    for arm, width, (low, high) in zip("BRZ", lsf, ((3600, 3680), (3664, 3744), (3728, 3808))):
        wave = np.round(np.arange(low, high + 0.1, 0.8), 3)
        live = arm not in dead
        matrix = np.exp(-0.5 * (np.arange(8, -9, -1)[:, None] * 0.8 / width) ** 2)
        matrix = np.repeat(matrix / matrix.sum(), wave.size, axis=1)
        ones = np.ones((2, wave.size))
        parts = {"WAVELENGTH": wave, "FLUX": ones * [[1.0], [2.0]] * live, "IVAR": 4 * ones * live}
        if resolution:
            parts["RESOLUTION"] = np.stack([matrix] * 2) * live
        hdus += [fits.ImageHDU(data, name=f"{arm}_{name}") for name, data in parts.items()]
    return hdus


@pytest.mark.parametrize("dead", [(), ("R",), ("B",), ("B", "Z")])
def test_dead_arms_have_no_part_in_the_mean(tmp_path, dead):
    found = read_spectrum(save(tmp_path / "coadd.fits", *coadd(dead)))
    assert [spectrum.meta["identifier"] for spectrum in found] == ["7", "8"]
    assert found[1].meta["ra"] == 151.0
    arrays = to_arrays(found[1])
    wave = arrays.wavelength
    np.testing.assert_allclose(np.diff(wave), 0.8)
    arms = {"B": (1.0, wave < 3680.4), "R": (2.0, (wave > 3663.6) & (wave < 3744.4)),
            "Z": (3.0, wave > 3727.6)}  # fmt: skip
    count, width = np.zeros((2, wave.size))
    for arm, (sigma, inside) in arms.items():
        count += inside * (arm not in dead)
        width += inside * sigma * (arm not in dead)
    good = count > 0
    np.testing.assert_array_equal(arrays.mask[0], ~good)
    np.testing.assert_allclose(arrays.flux[0, good], 2.0)
    np.testing.assert_allclose(arrays.sigma[0, good], 0.5 / np.sqrt(count[good]))
    # sampled in steps of 0.8 and cut at 6.4 Angstrom: to a per cent
    np.testing.assert_allclose(arrays.lsf[good], (width / np.maximum(count, 1))[good], rtol=0.08)


def test_coadds_without_resolution(tmp_path):
    found = read_spectrum(save(tmp_path / "coadd.fits", *coadd(resolution=False)))
    assert to_arrays(found[0]).lsf is None


def test_magnitudes_are_refused_in_one_line(tmp_path):
    table = fits.table_to_hdu(Table({"wavelength": LINEAR, "flux": FLUX, "error": SIGMA}))
    table.header.update({"TUNIT1": "Angstrom", "TUNIT2": "mag(AB)"})
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(), table)
    refused(path, r"flux densities in flux, got the logarithmic unit mag\(AB\)")
    cards = {"CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRVAL1": 4000.0, "CDELT1": 10.0}
    path = save(tmp_path / "b.fits", image(**cards, unit="mag(AB)"))
    refused(path, "flux densities in the image")
    table.header["TUNIT2"], table.header["TUNIT3"] = UNIT, "mag"
    path = save(tmp_path / "c.fits", fits.PrimaryHDU(), table)
    refused(path, "expected error in .* got mag")


@pytest.mark.parametrize("rows", [3, 4, 5])
def test_lamost_with_any_number_of_masks(tmp_path, rows):
    header = fits.Header({**CARDS, "TELESCOP": "LAMOST"})
    data = np.stack([FLUX, IVAR, LINEAR, 0 * FLUX, 0 * FLUX][:rows])
    check(read_spectrum(save(tmp_path / "a.fits", fits.PrimaryHDU(data, header))), LINEAR)


def test_the_first_fibre(tmp_path):
    header = fits.Header({**CARDS, "FIBERID": 1, "BUNIT": "1.0E-17 erg/cm/s/Ang"})
    rows = np.array([FLUX, 0 * FLUX, np.where(BAD, 0, SIGMA), 0 * FLUX, FLUX])
    check(read_spectrum(save(tmp_path / "spSpec.fit", fits.PrimaryHDU(rows, header))), LOG)


def test_resolution_of_sdss_tables(tmp_path):
    """wdisp is in pixels of 1e-4 dex; what is zero is bridged, what is below one is not."""
    width = np.where(BAD, 0.0, np.linspace(0.6, 1.4, N))
    table = QTable({"loglam": np.log10(LOG), "flux": FLUX, "ivar": IVAR, "wdisp": width})
    path = save(tmp_path / "spec.fits", fits.PrimaryHDU(), fits.BinTableHDU(table))
    truth = np.linspace(0.6, 1.4, N) * 1e-4 * np.log(10) * LOG
    np.testing.assert_allclose(read_spectrum(path).meta["lsf_sigma"], truth, rtol=1e-4)


def test_axes_in_pixels_stay_in_pixels(tmp_path):
    cards = {"CTYPE1": "PIXEL", "CUNIT1": None, "CRVAL1": 3.0, "CDELT1": 2.0}
    spectrum = read_spectrum(save(tmp_path / "a.fits", image(**cards)))
    assert spectrum.spectral_axis.unit == u.pix
    np.testing.assert_allclose(spectrum.spectral_axis.value, 3.0 + 2.0 * np.arange(N))
    with pytest.raises(InputError, match="still in pixels"):
        to_arrays(spectrum)


def test_an_axis_that_begins_at_zero_is_not_in_metres(tmp_path):
    cards = {"CUNIT1": None, "CRVAL1": 0.0, "CDELT1": 20.0}
    spectrum = read_spectrum(save(tmp_path / "a.fits", image(**cards)))
    assert spectrum.spectral_axis[-1] == 20.0 * (N - 1) * u.AA
