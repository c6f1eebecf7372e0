"""Pairs that a small network can learn in seconds, and settings as small as they go."""

from dataclasses import replace

import numpy as np
import pytest

from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH


def galaxies(n, seed=0, n_bands=5, size=64):
    """Images whose colour tells the slope of the spectrum: (image, flux, slope)."""
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
    from photospec.networks.published_sizes import PublishedSize
    from photospec.networks.sizes import ContrastiveSize, EncoderSize, StageSize, TransformerSize
    from photospec.training.config import Optimisation, TrainConfig

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
        published=PublishedSize(
            widths=(8, 8, 8, 32, 32),
            attention_depths=(4,),
            time_width=16,
            image_width=4,
            n_times=20,
            embedding_size=8,
            spectrum_widths=(8, 8),
        ),
    )
    return lambda stage="base", **changes: replace(config, stage=stage, **changes)
