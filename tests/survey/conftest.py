"""Small surveys: images of some galaxies, small random networks that draw redshifts."""

import numpy as np
import pytest

N = 60


@pytest.fixture(scope="session")
def survey_weights(tmp_path_factory):
    """Folder of a spectrograph with small random networks that draw redshifts first."""
    import torch

    from photospec.networks.sizes import ContrastiveSize, EncoderSize, StageSize, TransformerSize
    from photospec.weights import FILES, Sampling, SpectrographConfig, assemble, save_cascade

    image = EncoderSize(width=16, depth=1, n_heads=2, patch_size=32, n_summary=2)
    network = TransformerSize(width=16, depth=1, n_heads=2, patch_size=60)
    stage = StageSize(image, network, redshift=True)
    config = SpectrographConfig(
        sampling=Sampling(n_steps_base=3, n_steps_super_resolution=2, n_candidates=3),
        base=stage,
        super_resolution=stage,
        contrastive=ContrastiveSize(8, image, network),
        provenance={"trained": "never"},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {name: config.build(name) for name in FILES}
        for name in ("base", "super-resolution"):
            torch.nn.init.normal_(modules[name].network.head.weight, std=0.02)
            modules[name].scaling.std.fill_(0.3)
            modules[name].scaling.detail_std.fill_(0.05)
    folder = tmp_path_factory.mktemp("survey") / "weights"
    save_cascade(folder, assemble(modules, config), config)
    return folder


@pytest.fixture(scope="session")
def spectrograph(survey_weights):
    from photospec import PhotoSpectrograph

    return PhotoSpectrograph.load(survey_weights, dtype="float32")


def pixels(n, seed=0):
    """Images (n, 5, 64, 64) of exponential profiles with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 32
    images = rng.normal(0, 0.02, (n, 5, 64, 64))
    for image in images:
        light = np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
        image += rng.uniform(1, 5) * np.array([0.2, 0.7, 1, 1.3, 1.6])[:, None, None] * light
    return images.astype(np.float32)


def write_pairs(path, n, seed=0):
    from photospec.pairs import PairsWriter

    rng = np.random.default_rng(seed)
    wavelength = np.arange(4000.0, 8500.0, 500)
    flux = np.ones((n, len(wavelength)), np.float32)
    columns = {
        "identifier": np.array([f"g{i:05d}" for i in range(n)]),
        "ra": rng.uniform(150, 160, n),
        "dec": rng.uniform(0, 10, n),
        "galactic_ebv": np.full(n, 0.03),
    }
    with PairsWriter(path, "ugriz", 0.396, wavelength, {"made": "tests"}) as writer:
        writer.append(pixels(n, seed), flux, flux, columns)
    return path


@pytest.fixture(scope="session")
def pairs_path(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.h5", N)


@pytest.fixture(autouse=True)
def one_process():
    """Dask in this process, unless a test makes a cluster."""
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield
