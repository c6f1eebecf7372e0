"""What all tests share: thread limits and the folder of real data."""

import os
from dataclasses import replace
from pathlib import Path

# One numerical thread per process: test processes run side by side, and more
# threads than cores only make them wait for each other. Set before NumPy loads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared():
    """Folder of observed data (not part of the repository); skips where it is not there."""
    folder = Path(os.environ.get("PHOTOSPEC_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "real").is_dir():
        pytest.skip(f"no observed data: {folder / 'real'} is not there (PHOTOSPEC_SHARED names it)")
    return folder


@pytest.fixture(scope="session")
def repository():
    """Root of the checkout that the tests come from."""
    return REPOSITORY


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """Folder of a spectrograph with small random networks: it predicts nonsense, at once."""
    import torch

    from photospec.networks.sizes import ContrastiveSize, EncoderSize, StageSize, TransformerSize
    from photospec.weights import FILES, Sampling, SpectrographConfig, assemble, save_cascade

    image = EncoderSize(width=16, depth=1, n_heads=2, patch_size=32, n_summary=2)
    stage = StageSize(image, TransformerSize(width=16, depth=1, n_heads=2, patch_size=60))
    config = SpectrographConfig(
        sampling=Sampling(n_steps_base=3, n_steps_super_resolution=2, n_candidates=3),
        base=stage,
        super_resolution=stage,
        contrastive=ContrastiveSize(8, image, stage.network),
        lsf_sigma=(2.1, 2.7),
        provenance={"trained": "never"},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {stage: config.build(stage) for stage in FILES}
        for name in ("base", "super-resolution"):
            torch.nn.init.normal_(modules[name].network.head.weight, std=0.02)
            modules[name].scaling.std.fill_(0.3)
            modules[name].scaling.detail_std.fill_(0.05)
    folder = tmp_path_factory.mktemp("tiny") / "weights"
    save_cascade(folder, assemble(modules, config), config)
    return folder


def galaxies(n, seed=0, n_bands=5, size=64):
    """Images whose colour tells the slope of the spectrum: (image, flux, slope)."""
    from photospec.spectrum import WAVELENGTH

    rng = np.random.default_rng(seed)
    slope = rng.uniform(-1, 1, n)
    y, x = np.mgrid[:size, :size] - size // 2
    light = 3 * np.exp(-np.hypot(x, y) / 4)
    band = np.linspace(-1, 1, n_bands)
    image = np.exp(slope[:, None] * band)[..., None, None] * light
    image += rng.normal(0, 0.02, image.shape)
    flux = 10 * np.exp(slope[:, None] * (WAVELENGTH - 6250) / 4500)
    flux *= 1 + 0.3 * np.exp(-0.5 * ((WAVELENGTH - 7200) / 5) ** 2)
    return image.astype("f4"), flux.astype("f4"), slope


@pytest.fixture(scope="session")
def make_galaxies():
    return galaxies


@pytest.fixture(scope="session")
def write_pairs():
    from photospec.pairs import PairsWriter
    from photospec.spectrum import WAVELENGTH

    def write(path, n, seed=0, *, bands="ugriz", wavelength=WAVELENGTH, scale=0.396, truth=True,
              size=64, provenance=None):  # fmt: skip
        image, flux, slope = galaxies(n, seed, len(bands), size)
        flux = flux[:, : len(wavelength)]
        with PairsWriter(path, bands, scale, wavelength, provenance or {"seed": seed}) as writer:
            if n:
                writer.append(
                    image,
                    1.1 * flux,
                    np.ones_like(flux),
                    object={"redshift": slope},
                    truth={"redshift": slope} if truth else None,
                    truth_flux=flux if truth else None,
                )
        return path

    return write


@pytest.fixture(scope="session")
def pairs(write_pairs, tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.h5", 72)


@pytest.fixture(scope="session")
def settings():
    """``settings(stage, **changes)``: a TrainConfig for runs of a few seconds."""
    from photospec.networks.sizes import ContrastiveSize, EncoderSize, StageSize, TransformerSize
    from photospec.training.settings import Optimisation, TrainConfig

    image = EncoderSize(width=16, depth=0, n_heads=2, patch_size=32, n_summary=2)
    network = TransformerSize(width=16, depth=1, n_heads=2, patch_size=60)
    config = TrainConfig(
        max_steps=10,
        batch_size=8,
        n_draws=2,
        validation_pairs=16,
        validate_every=5,
        checkpoint_every=4,
        mixed_precision=False,
        optimisation=Optimisation(learning_rate=5e-3, warmup_steps=2, ema_decay=0.9),
        diffusion=StageSize(image, network),
        contrastive=ContrastiveSize(8, image, network),
    )
    return lambda stage="base", **changes: replace(config, stage=stage, **changes)
