"""Simulated pairs and a spectrograph that knows their truth."""

from types import SimpleNamespace

import numpy as np
import pytest

from photospec.pairs import PairsFile
from photospec.simulation import Survey, simulate_pairs
from photospec.spectrum import WAVELENGTH, from_arrays

N = 24


@pytest.fixture(scope="session")
def pairs_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluation") / "pairs.h5"
    simulate_pairs(N, path, Survey.sdss_main(seed=11), n_processes=1)
    return path


@pytest.fixture
def pairs(pairs_path):
    with PairsFile(pairs_path) as file:
        yield file


class Oracle:
    """Knows the spectrum of an image, or takes that of another galaxy; with some scatter."""

    config = SimpleNamespace(bands=tuple("ugriz"), image_size=64, provenance={"made": "up"})

    def __init__(self, pairs, shift=0, scatter=0.0):
        self.image, self.truth = pairs.image(), pairs.truth_flux()
        self.shift, self.scatter, self.calls = shift, scatter, 0

    def line_spread(self):
        return np.full(WAVELENGTH.size, 2.4)

    def sample(self, image, n_candidates, *, seed=0):
        self.calls += 1
        distance = np.abs(self.image[:, 2] - np.asarray(image.data)[2]).sum(axis=(1, 2))
        row = int(distance.argmin())
        rng = np.random.default_rng((seed, row))
        flux = np.repeat(self.truth[None, (row + self.shift) % N], n_candidates, axis=0)
        tilt = self.scatter * rng.standard_normal((n_candidates, 1))
        flux = flux * (1 + tilt * np.linspace(-1, 1, WAVELENGTH.size))
        return SimpleNamespace(
            spectra=from_arrays(WAVELENGTH, flux),
            similarity=-np.abs(tilt[:, 0]),
            best_index=int(np.abs(tilt[:, 0]).argmin()),
            expected_redshift=None,
        )

    def ood_score(self, images):
        """Strange is what it has never seen."""
        known = self.image[:, 2].sum(axis=(1, 2))
        light = np.array([np.asarray(image.data)[2].sum() for image in images])
        return 2.0 * (np.abs(light[:, None] - known).min(axis=1) > 1e-4 * light)


@pytest.fixture
def oracle(pairs):
    return Oracle(pairs)


@pytest.fixture
def make_oracle(pairs):
    return lambda **options: Oracle(pairs, **options)


@pytest.fixture(scope="session")
def browser():
    """``browser(path, widths)``: what Chromium sees of a page, and the errors it met."""
    import importlib.util
    from pathlib import Path

    pytest.importorskip("aiohttp")
    path = Path(__file__).with_name("browser.py")
    spec = importlib.util.spec_from_file_location("browser", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    program = module.find()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(module.NAMES)} is installed")
    return lambda page, widths: module.look(program, page.as_uri(), widths)
