"""What headers say: units as people write them, air or vacuum, frame."""

import pytest
from astropy import units as u
from astropy.io import fits

from photospec.errors import InputError
from photospec.spectrum.headers import (
    FLUX_UNIT,
    angstrom_for_ampere,
    parse_unit,
    spectral_frame,
    wavelength_medium,
)

CGS = u.erg / u.s / u.cm**2 / u.AA


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1E-17 erg/cm^2/s/Ang", FLUX_UNIT),  # SDSS
        ("1e-17 erg / (s cm2 AA)", FLUX_UNIT),
        ("10**-17 erg/(s cm2 Angstrom)", FLUX_UNIT),
        ("10(-17)ergs/sec/cm^2/Angstrom", FLUX_UNIT),
        ("10-17 ergs/s/cm2/A", FLUX_UNIT),
        ("erg/cm2/s/A", CGS),
        ("erg s-1 cm-2 A-1", CGS),
        ("erg cm**(-2) s**(-1) angstrom**(-1)", CGS),
        ("ERG/CM2/S/ANGSTROM", CGS),
        ("erg/s/cm2/Angs.", CGS),
        ("erg2/cm4/s2/A2", CGS**2),
        ("10**+34 (s2 cm4 Angstrom2) / erg2", 1e34 / CGS**2),
        ("W/m^2/micron", u.W / u.m**2 / u.um),
        ("1D-17 erg/s/cm2/A", FLUX_UNIT),
        ("1.0d-17 erg/s/cm2/Angstrom", FLUX_UNIT),
        ("FLAM", CGS),
        ("fnu", u.erg / (u.s * u.cm**2 * u.Hz)),
        ("photlam", u.photon / (u.s * u.cm**2 * u.AA)),
        ("photon/cm2/s/A", u.photon / (u.s * u.cm**2 * u.AA)),
        ("mJy", u.mJy),
        ("counts", u.ct),
        ("Angstroms", u.AA),
        ("ANGSTROM", u.AA),
        ("Ang", u.AA),
        ("A", u.AA),
        ("microns", u.um),
        ("nanometers", u.nm),
    ],
)
def test_units_as_people_write_them(text, unit):
    found = parse_unit(text)
    assert found.is_equivalent(unit)
    assert found.to(unit) == pytest.approx(1)


@pytest.mark.parametrize("text", ["log10(Angstrom)", "log(Angstrom)", "dex(Angstrom)", "lg [Ang]"])
def test_logarithms_of_units(text):
    assert parse_unit(text) == u.dex(u.AA)


def test_no_unit_and_nonsense():
    assert [parse_unit(text) for text in (None, "", "  ", "none", "N/A")] == [None] * 5
    with pytest.raises(InputError, match=r"BUNIT: expected a unit.*got 'furlongs'.*misspelt"):
        parse_unit("furlongs", "BUNIT")


def test_ampere_is_angstrom_only_where_it_makes_a_flux_density():
    assert angstrom_for_ampere(u.erg / u.s / u.cm**2 / u.A) == CGS
    assert angstrom_for_ampere(u.Unit(1e-17 * CGS * u.AA / u.A)) == FLUX_UNIT
    for unit in (u.A, u.V / u.A, u.Jy, u.dimensionless_unscaled, u.dex(u.AA)):
        assert angstrom_for_ampere(unit) is unit


@pytest.mark.parametrize(
    ("cards", "medium"),
    [
        ({"CTYPE1": "AWAV"}, "air"),
        ({"CTYPE3": "AWAV-LOG"}, "air"),
        ({"TCTYP2": "AWAV"}, "air"),
        ({"AIRORVAC": "air"}, "air"),
        ({"AIRORVAC": "vac"}, "vacuum"),
        ({"VACUUM": True}, "vacuum"),
        ({"VACUUM": 1}, "vacuum"),
        ({"VACUUM": False}, "air"),
        ({"VACUUM": "F"}, "air"),
        ({"TUCD1": "em.wl;obs.atmos"}, "air"),
        ({"CTYPE1": "WAVE"}, "vacuum"),
        ({"CTYPE1": "WAVE", "AIRORVAC": "air"}, "air"),  # WAVE is written without asking
        ({"CTYPE1": "LINEAR"}, None),
        ({"VACUUM": 1.3e-6}, None),  # the pressure in the cryostat
        ({"TUCD2": "phot.flux;obs.atmos"}, None),
        ({}, None),
    ],
)
def test_air_or_vacuum(cards, medium):
    assert wavelength_medium(fits.Header(cards)) == medium
    assert wavelength_medium(cards) == medium


def test_air_and_vacuum_at_once_is_refused():
    with pytest.raises(InputError, match=r"got both .CTYPE1 = AWAV, AIRORVAC = vac"):
        wavelength_medium({"CTYPE1": "AWAV", "AIRORVAC": "vac"})


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"SPECSYS": "BARYCENT"}, "barycentric"),
        ({"SPECSYS": "HELIOCEN"}, "heliocentric"),
        ({"SPECSYS": "TOPOCENT", "HELIO_RV": 3.0}, "topocentric"),
        ({"SPECSYS": "lsrk"}, "local standard of rest"),
        ({"SPECSYS": "SOURCE"}, "source"),
        ({"HELIO_RV": 4.97}, "heliocentric"),
        ({"HELIO": True}, "heliocentric"),
        ({"HELIO": False}, None),
        ({"VEL_TYPE": "barycentric"}, "barycentric"),
        ({"SPECSYS": "nonsense"}, None),
        ({}, None),
    ],
)
def test_frames(cards, frame):
    assert spectral_frame(cards) == frame


@pytest.mark.parametrize("power", [1, 2, -1, -2])
def test_ampere_in_powers_of_flux_densities(power):
    """Variances, inverse variances, and what is divided by a flux."""
    assert angstrom_for_ampere((CGS * u.AA / u.A) ** power) == CGS**power
    cubed = (CGS * u.AA / u.A) ** 3
    assert angstrom_for_ampere(cubed) is cubed
