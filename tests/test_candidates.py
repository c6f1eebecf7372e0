import numpy as np
import pytest
from astropy import units as u
from specutils import Spectrum

from photospec.candidates import CandidateSpectra, best_candidate

UNIT = u.Unit("erg / (s cm2 Angstrom)")


@pytest.fixture
def candidates():
    flux = np.array([[1.0, 1, 1], [2, 4, 6], [3, 1, 2]])
    spectra = Spectrum(
        flux=flux * UNIT,
        spectral_axis=[4000, 4001, 4002] * u.AA,
        spectral_axis_index=-1,
        meta={"seed": 5, "lsf_sigma": np.full(3, 2.0)},
    )
    return CandidateSpectra(spectra, np.array([0.1, 0.7, -0.2]))


def test_best_is_the_most_similar_unless_told(candidates):
    assert len(candidates) == 3
    assert candidates.best_index == 1
    best = candidates.best
    np.testing.assert_array_equal(best.flux.value, [2, 4, 6])
    assert best.flux.unit == UNIT
    assert best.meta["similarity"] == 0.7
    assert best.meta["seed"] == 5
    assert "similarity" not in candidates.spectra.meta  # the original is left alone
    assert u.allclose(best.spectral_axis, candidates.spectra.spectral_axis)


def test_best_is_the_one_given(candidates):
    other = CandidateSpectra(
        candidates.spectra, candidates.similarity, np.array([0.1, 0.2, 0.3]), best_index=2
    )
    np.testing.assert_array_equal(other.best.flux.value, [3, 1, 2])
    assert other.best.meta["similarity"] == -0.2
    assert list(other.to_table()["redshift"]) == [0.2, 0.1, 0.3]


def lines_at(positions):
    """Flat spectra with one line each."""
    wavelength = np.arange(400)
    position = np.asarray(positions)[:, None]
    return 1 + 3 * np.exp(-0.5 * ((wavelength - position) / 6.0) ** 2)


def test_central_candidate_is_a_median():
    flux = lines_at([100, 150, 152, 154, 300])
    similarity = np.array([0.9, 0.1, 0.2, 0.3, 0.8])
    assert best_candidate(flux, similarity) == 2
    assert best_candidate(flux, similarity, choose="similar") == 0
    # Whatever the flux unit and the order.
    assert best_candidate(1e-17 * flux[::-1], similarity[::-1]) == 2


def test_central_candidate_has_a_redshift_near_the_mean():
    flux = lines_at([100, 150, 152, 154, 300, 310, 320, 330])
    similarity = np.zeros(8)
    assert best_candidate(flux, similarity) == 2
    redshift = np.array([0.1, 0.12, 0.121, 0.122, 0.16, 0.165, 0.17, 0.18])
    # The mean is 0.142; 0.122 and 0.16 are nearest, and the line at 154 has neighbours.
    assert best_candidate(flux, similarity, redshift=redshift) == 3
    # The mean of few draws is not that of the density: 0.12 and 0.121 are nearest to this one.
    assert best_candidate(flux, similarity, redshift, 0.1205) == 2
    assert best_candidate(flux, np.arange(8.0), redshift, choose="similar") == 7


def test_similarity_decides_between_two():
    flux = lines_at([100, 300])
    assert best_candidate(flux, np.array([0.1, 0.2])) == 1
    assert best_candidate(flux, np.array([0.2, 0.1])) == 0
    assert best_candidate(flux[:1], np.array([0.2])) == 0


def test_dark_samples_do_not_break_the_choice():
    flux = lines_at([100, 150, 152])
    flux[:, 40:80] = 0.0
    flux[0, 50] = -1.0
    assert best_candidate(flux, np.zeros(3)) in (1, 2)


def test_mean_and_spread(candidates):
    np.testing.assert_allclose(candidates.mean.flux.value, [2, 2, 3])
    expected = np.sqrt([2 / 3, 2, 14 / 3])
    np.testing.assert_allclose(candidates.spread.value, expected)
    assert candidates.spread.unit == UNIT
    np.testing.assert_allclose(candidates.mean.uncertainty.quantity.to_value(UNIT), expected)
    np.testing.assert_array_equal(candidates.mean.meta["lsf_sigma"], 2.0)


def test_table_and_repr(candidates):
    table = candidates.to_table()
    assert list(table["candidate"]) == [1, 0, 2]
    assert list(table["similarity"]) == [0.7, 0.1, -0.2]
    assert table["flux"].unit == UNIT
    np.testing.assert_array_equal(table["flux"][0].value, [2, 4, 6])
    assert repr(candidates) == (
        "<CandidateSpectra: 3 candidates of 3 samples, similarity -0.200 to 0.700>"
    )


def test_frozen(candidates):
    with pytest.raises(AttributeError):
        candidates.similarity = None
