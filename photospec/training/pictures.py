"""Pictures of what a network in training can do, for looking at while it trains."""

import numpy as np
import torch

from photospec.training.checkpoint import write_aside
from photospec.training.validation import draw_candidates

__all__ = ["draw_picture"]

_CANDIDATES = 5
_SIMILARITIES = 64


def draw_picture(trainer, output):
    """Write ``pictures/step_<number>.png`` into a run folder.

    For a diffusion stage, candidates of held-out galaxies over the truth; for the
    contrastive network, similarities of held-out images (rows) and spectra (columns).

    Parameters
    ----------
    trainer : Trainer
    output : pathlib.Path

    Raises
    ------
    InputError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    contrastive = trainer.config.stage == "contrastive"
    figure = Figure(layout="constrained")
    (_draw_similarities if contrastive else _draw_candidates)(figure, trainer)
    figure.suptitle(f"{trainer.config.stage}, step {trainer.step}", fontsize=9)
    path = output / "pictures" / f"step_{trainer.step:07d}.png"

    def write(temporary):
        path.parent.mkdir(exist_ok=True)
        figure.savefig(temporary, format="png", dpi=110)

    write_aside(path, write)


def _draw_candidates(figure, trainer):
    run = trainer.config.run
    batch = trainer.stream.validation(run.pictures).to(trainer.device)
    candidates, truth = draw_candidates(
        trainer.ema, batch, _CANDIDATES, n_steps=run.score_steps, seed=trainer.config.seed
    )
    wavelength = np.linspace(*trainer.stream.files[0].wavelength[[0, -1]], truth.shape[-1])
    images = batch.image[:, batch.image.shape[1] // 2].clamp_min(0).sqrt()
    n = len(truth)
    figure.set_size_inches(9, 1 + 1.6 * n)
    rows = figure.subplots(n, 2, squeeze=False, width_ratios=[1, 5], sharex="col")
    parts = (tensor.cpu().numpy() for tensor in (images, candidates, truth))
    for (left, right), image, drawn, true in zip(rows, *parts, strict=True):
        left.imshow(image, origin="lower", cmap="gray")
        left.set_axis_off()
        right.plot(wavelength, drawn.T, color="tab:blue", linewidth=0.5, alpha=0.7)
        right.plot(wavelength, true, color="tab:orange", linewidth=0.9)
        right.tick_params(labelsize=7)
    rows[-1, 1].set_xlabel("Observed wavelength in vacuum [Å]", fontsize=8)
    figure.supylabel("standardised logarithmic flux; orange: truth", fontsize=8)


@torch.no_grad()
def _draw_similarities(figure, trainer):
    batch = trainer.stream.validation(_SIMILARITIES).to(trainer.device)
    image, spectrum = trainer.ema.validation_embeddings(batch)
    axes = figure.subplots()
    shown = axes.imshow((image @ spectrum.T).float().cpu().numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set(xlabel="spectrum", ylabel="image")
    figure.colorbar(shown, label="cosine similarity")
