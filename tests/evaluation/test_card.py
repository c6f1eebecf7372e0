"""The model card of a spectrograph that knows the truth, and of one that guesses."""

from types import SimpleNamespace

import numpy as np
import pytest

from photospec.evaluation import evaluate
from photospec.pairs import PairsFile
from photospec.simulation import Survey, simulate_pairs
from photospec.spectrum import WAVELENGTH, from_arrays

N = 24


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "pairs.h5"
    simulate_pairs(N, path, Survey.sdss_main(seed=11), n_processes=1)
    with PairsFile(path) as file:
        yield file


class Oracle:
    """Answers the k-th call with the k-th truth, or with that of another galaxy."""

    def __init__(self, pairs, shift):
        self.truth, self.shift, self.calls = pairs.truth_flux(), shift, 0

    def line_spread(self):
        return np.full(WAVELENGTH.size, 2.4)

    def ood_score(self, images):
        return np.zeros(len(images))

    def sample(self, image, n_candidates, *, seed):
        flux = self.truth[(self.calls + self.shift) % N]
        self.calls += 1
        return SimpleNamespace(
            spectra=from_arrays(WAVELENGTH, np.repeat(flux[None], n_candidates, axis=0)),
            similarity=np.linspace(1, 0, n_candidates),
            best_index=0,
            expected_redshift=None,
        )


def test_the_truth_gets_full_marks(pairs):
    card = evaluate(Oracle(pairs, 0), pairs, n_candidates=2)
    assert card.n_galaxies == N
    assert card.redshift["best candidate"].sigma_mad < 1e-4
    assert card.redshift["best candidate"].outlier_fraction == 0
    assert card.pixel_error["best candidate"] < 1e-6
    assert card.dn4000_correlation == pytest.approx(1)
    assert card.dn4000_scatter < 0.01


def test_the_truth_of_another_galaxy_does_not(pairs):
    card = evaluate(Oracle(pairs, 5), pairs, n_candidates=2)
    assert card.redshift["best candidate"].sigma_mad > 0.02
    assert card.pixel_error["best candidate"] > 0.05
    assert card.pit_distance["redshift"] > 0.1
    assert f"{N} galaxies, 2 candidates each" in str(card)
