import numpy as np
import pytest
from astropy import units as u
from specutils import Spectrum

from photospec.candidates import CandidateSpectra

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


def test_best_is_the_most_similar(candidates):
    assert len(candidates) == 3
    assert candidates.best_index == 1
    best = candidates.best
    np.testing.assert_array_equal(best.flux.value, [2, 4, 6])
    assert best.flux.unit == UNIT
    assert best.meta["similarity"] == 0.7
    assert best.meta["seed"] == 5
    assert "similarity" not in candidates.spectra.meta  # the original is left alone
    assert u.allclose(best.spectral_axis, candidates.spectra.spectral_axis)


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
