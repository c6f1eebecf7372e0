"""What all tests share: thread limits and the folder of real data."""

import os
from pathlib import Path

# One numerical thread per process: test processes run side by side, and more
# threads than cores only make them wait for each other. Set before NumPy loads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

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
