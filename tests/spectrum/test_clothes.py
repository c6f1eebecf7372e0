"""The same galaxy in other clothes: whatever the units, axes and conventions, the same arrays."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.utils.masked import Masked
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum import FLUX_UNIT, from_arrays, to_arrays, vacuum_to_air

WAVE = 10 ** np.arange(3.58, 3.96, 1e-3)
AXIS = WAVE * u.AA
RNG = np.random.default_rng(5)
FLUX = 5 + np.sin(WAVE / 300) + RNG.random(WAVE.size)
SIGMA = 0.1 + 0.05 * RNG.random(WAVE.size)
LSF = WAVE / 4000
MASK = np.zeros(WAVE.size, bool)
MASK[[7, 100, 101]] = True
DENSITY = u.spectral_density(AXIS)
POWERS = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}


def dressed(**changes):
    given = {
        "flux": FLUX * FLUX_UNIT,
        "spectral_axis": AXIS,
        "uncertainty": StdDevUncertainty(SIGMA * FLUX_UNIT),
        "mask": MASK,
        "meta": {"lsf_sigma": LSF},
    }
    return Spectrum(**{**given, **changes})


def check(spectrum, rtol=1e-9):
    """Compare with the reference: the galaxy in the package's own units."""
    arrays = to_arrays(spectrum)
    np.testing.assert_allclose(arrays.wavelength, WAVE, rtol=1e-9)
    for flux, sigma, mask in zip(arrays.flux, arrays.sigma, arrays.mask, strict=True):
        np.testing.assert_allclose(flux, FLUX, rtol=rtol)
        np.testing.assert_allclose(sigma, SIGMA, rtol=rtol)
        np.testing.assert_array_equal(mask, MASK)
    np.testing.assert_allclose(np.broadcast_to(arrays.lsf, arrays.flux.shape)[0], LSF)
    return arrays


UNITS = ["erg/(s cm2 AA)", "W/(m2 um)", "erg/(s cm2 nm)", "Jy", "mJy", "uJy", "W/(m2 Hz)",
         "erg/(s cm2 Hz)", "photon/(s cm2 AA)"]  # fmt: skip


@pytest.mark.parametrize("kind", POWERS)
@pytest.mark.parametrize("unit", UNITS)
def test_units_of_flux_and_kinds_of_error(unit, kind):
    flux, sigma = ((x * FLUX_UNIT).to(unit, DENSITY) for x in (FLUX, SIGMA))
    check(dressed(flux=flux, uncertainty=kind(sigma ** POWERS[kind])))
    check(dressed(flux=flux, uncertainty=kind((sigma ** POWERS[kind]).value)))  # the flux's unit


@pytest.mark.parametrize("unit", ["nm", "um", "m", "THz", "Hz", "eV", "J", "1/cm"])
def test_spectral_axes(unit):
    axis = AXIS.to(unit, u.spectral())
    check(dressed(spectral_axis=axis))
    flux, sigma = ((x * FLUX_UNIT).to(u.mJy, DENSITY)[::-1] for x in (FLUX, SIGMA))
    check(
        dressed(
            spectral_axis=axis[::-1],
            flux=flux,
            uncertainty=StdDevUncertainty(sigma),
            mask=MASK[::-1],
            meta={"lsf_sigma": LSF[::-1]},
        )
    )


@pytest.mark.parametrize("convention", ["optical", "radio", "relativistic"])
def test_velocities(convention):
    rest = 6564.6 * u.AA
    axis = AXIS.to(u.km / u.s, getattr(u, f"doppler_{convention}")(rest))
    check(dressed(spectral_axis=axis, rest_value=rest, velocity_convention=convention))
    with pytest.raises(InputError, match="velocities without rest_value"):
        to_arrays(dressed(spectral_axis=axis))


def test_air():
    axis = vacuum_to_air(WAVE) * u.AA
    for meta in (
        {"wavelength_medium": "air"},
        {"header": {"CTYPE1": "AWAV"}},
        {"header": {"AIRORVAC": "air"}},
    ):
        arrays = check(dressed(spectral_axis=axis, meta={"lsf_sigma": LSF, **meta}), rtol=1e-7)
        assert arrays.meta["wavelength_medium"] == "vacuum"
        # Per frequency: a sample has the frequency of its wavelength in vacuum.
        flux, sigma = ((x * FLUX_UNIT).to(u.mJy, DENSITY) for x in (FLUX, SIGMA))
        check(
            dressed(
                spectral_axis=axis,
                flux=flux,
                uncertainty=StdDevUncertainty(sigma),
                meta={"lsf_sigma": LSF, **meta},
            ),
            rtol=1e-7,
        )
    # meta wins over the header; frequencies know no air
    both = {"wavelength_medium": "vacuum", "header": {"CTYPE1": "AWAV"}, "lsf_sigma": LSF}
    check(dressed(meta=both))
    frequency = {"wavelength_medium": "air", "lsf_sigma": LSF}
    check(dressed(spectral_axis=AXIS.to(u.THz, u.spectral()), meta=frequency))


@pytest.mark.parametrize("n", [1, 2, WAVE.size])
def test_spectral_axis_first(n):
    def stack(values):
        return np.stack([values] * n, axis=1)

    for lsf in (LSF, stack(LSF)):
        check(
            dressed(
                flux=stack(FLUX) * FLUX_UNIT,
                spectral_axis_index=0,
                uncertainty=StdDevUncertainty(stack(SIGMA) * FLUX_UNIT),
                mask=stack(MASK),
                meta={"lsf_sigma": lsf},
            )
        )
    assert len(to_arrays(from_arrays(WAVE, stack(FLUX).T))) == n


def test_masks():
    check(dressed(mask=4 * MASK.astype(int)))
    check(dressed(flux=Masked(FLUX * FLUX_UNIT, mask=MASK), mask=MASK))
    for mark in (np.nan, np.inf, -np.inf, 1e30, 3.4e38):
        flux = np.where(MASK, mark, FLUX)
        arrays = to_arrays(dressed(flux=flux * FLUX_UNIT, mask=None))
        np.testing.assert_array_equal(arrays.mask[0], MASK)
        assert np.isfinite(arrays.flux).all()


@pytest.mark.parametrize(
    ("kind", "mark"),
    [(StdDevUncertainty, m) for m in (-1.0, 0.0, np.nan, np.inf, -np.inf, 1e10, 1e-9)]
    + [(VarianceUncertainty, m) for m in (-1.0, 0.0, np.nan, np.inf, 1e20)]
    + [(InverseVariance, m) for m in (-1.0, 0.0, np.nan, np.inf, 1e-20)],
)
def test_errors_that_say_bad(kind, mark):
    error = np.where(MASK, mark, SIGMA ** POWERS[kind])
    spectrum = dressed(uncertainty=kind(error * FLUX_UNIT ** POWERS[kind]), mask=None)
    arrays = to_arrays(spectrum)
    np.testing.assert_array_equal(arrays.mask[0], MASK)
    assert np.isinf(arrays.sigma[0, MASK]).all()
    np.testing.assert_allclose(arrays.sigma[0, ~MASK], SIGMA[~MASK])


def test_numbers_of_any_size_are_fluxes():
    """A normalised spectrum that claims erg/s/cm2/A is bright, not bad."""
    arrays = to_arrays(dressed(flux=FLUX * 1e17 * FLUX_UNIT, uncertainty=None))
    np.testing.assert_array_equal(arrays.mask[0], MASK)
    unit = u.erg / u.s / u.cm**2 / u.AA
    arrays = to_arrays(dressed(flux=1e4 * FLUX * unit, uncertainty=StdDevUncertainty(SIGMA * unit)))
    np.testing.assert_array_equal(arrays.mask[0], MASK)
    np.testing.assert_allclose(arrays.flux[0], 1e21 * FLUX)


def test_ampere_is_angstrom():
    unit = 1e-17 * u.erg / u.s / u.cm**2 / u.A
    check(dressed(flux=FLUX * unit, uncertainty=VarianceUncertainty(SIGMA**2 * unit**2)))


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"meta": {"redshift": 0.08}}, 0.08),
        ({"meta": {"redshift": 0.08 * u.one}}, 0.08),
        ({"meta": {"redshift": 8 * u.percent}}, 0.08),
        ({"meta": {"redshift": np.array([0.08])}}, 0.08),
        ({"meta": {"redshift": 0.0}}, 0.0),
        ({"redshift": 0.08}, 0.08),
        ({"radial_velocity": 23026.8949 * u.km / u.s}, 0.08),  # relativistic, as in specutils
        ({"redshift": 0.2, "meta": {"redshift": 0.08}}, 0.08),
        ({}, None),
        ({"meta": {"redshift": "unknown"}}, None),
        ({"meta": {"redshift": np.nan}}, None),
        ({"meta": {"redshift": -3.0}}, None),
        ({"meta": {"redshift": 300 * u.km / u.s}}, None),
        ({"meta": {"redshift": [0.1, 0.2]}}, None),
        ({"meta": {"redshift": {"z": 1}}}, None),
    ],
)
def test_redshift_hints(given, hint):
    arrays = to_arrays(dressed(**{"meta": {}, **given}))
    np.testing.assert_allclose(arrays.wavelength, WAVE)  # a redshift moves nothing
    if hint is None:
        assert arrays.redshift is None
    else:
        np.testing.assert_allclose(arrays.redshift, [hint], atol=1e-9)


def test_hints_of_many():
    spectrum = Spectrum(
        flux=np.stack([FLUX, FLUX]) * FLUX_UNIT,
        spectral_axis=AXIS,
        spectral_axis_index=1,
        meta={"redshift": [0.1, np.nan]},
    )
    np.testing.assert_array_equal(to_arrays(spectrum).redshift, [0.1, np.nan])


def test_frame_is_kept():
    assert to_arrays(dressed()).meta.get("spectral_frame") is None
    meta = {"header": {"SPECSYS": "TOPOCENT"}}
    assert to_arrays(dressed(meta=meta)).meta["spectral_frame"] == "topocentric"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"uncertainty": UnknownUncertainty(SIGMA)}, "UnknownUncertainty in no unit; give it"),
        ({"flux": FLUX * u.one, "uncertainty": None}, "got no unit; multiply"),
        ({"flux": FLUX * u.A, "uncertainty": None}, r"got A \(A is ampere\)"),
        ({"meta": {"lsf_sigma": 60 * u.km / u.s}}, "lsf_sigma.*is it in km/s"),
        ({"meta": {"lsf_sigma": "narrow"}}, "lsf_sigma.*'narrow'"),
        ({"meta": {"header": {"CTYPE1": "AWAV", "VACUUM": True}}}, "got both"),
    ],
)
def test_what_is_refused(changes, match):
    with pytest.raises(InputError, match=match) as caught:
        to_arrays(dressed(**changes))
    assert "\n" not in str(caught.value)


def test_arrays_that_do_not_belong_together():
    with pytest.raises(InputError, match=r"^sigma: expected numbers in the shape"):
        from_arrays(WAVE, FLUX, sigma=SIGMA[1:])
    with pytest.raises(InputError, match=r"^mask: expected numbers in the shape"):
        from_arrays(WAVE, FLUX, mask=MASK[1:])
    one = to_arrays(from_arrays(WAVE, np.stack([FLUX, FLUX]), sigma=0.1, mask=MASK))
    np.testing.assert_array_equal(one.mask, np.stack([MASK, MASK]))
    assert (one.sigma == 0.1).all()


def test_no_samples():
    nothing = Spectrum(flux=[] * u.Jy, spectral_axis=[] * u.AA)
    with pytest.raises(InputError, match="length 0"):
        to_arrays(nothing)
