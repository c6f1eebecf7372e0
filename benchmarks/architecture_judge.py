"""How good a stage of `architectures` is: denoising loss, spectra, redshifts."""

import numpy as np
import torch
from architecture_variants import BEFORE, FINE, PUBLISHED, VARIANTS
from line_shapes import LINES, shapes_at
from torch.utils.flop_counter import FlopCounterMode

from photospec.analysis import measure_redshift
from photospec.evaluation import redshift_quality
from photospec.networks.scaling import BLOCK, N_BASE, N_FINE, to_base, upsample
from photospec.networks.stage import SuperResolutionStage
from photospec.published.training import PublishedDiffusionStage
from photospec.spectrum import WAVELENGTH, from_arrays

LEVELS = {"base": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0), "detail": (0.1, 0.3, 1.0, 3.0)}
# Gaussian sigma of the spectra, Angstrom: training grid; with bins of 8, interpolated.
LSF = {"fine": 2.35, "base": 4.6}
MIN_EW = 5.0  # of the line whose flux is judged, Angstrom
BATCH = 64


def _noise(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def held_out_loss(stage, image, flux):
    """EDM loss at fixed noise levels: mean square error over that of the best constant skip.

    For any parametrisation it is the error of E[x_0 | x_t] times (sigma^2 + 1) / sigma^2.
    """
    refines = isinstance(stage, SuperResolutionStage)
    found = {}
    for number, level in enumerate(LEVELS["detail" if refines else "base"]):
        denoiser, losses = stage.denoiser, []
        t = denoiser.schedule.time(-2 * np.log(level))
        sigma = torch.exp(-denoiser.schedule.log_snr(t) / 2)  # as far as its times allow
        for part, (one_image, one_flux) in enumerate(
            zip(image.split(BATCH), flux.split(BATCH), strict=True)
        ):
            context, args = stage.encode(one_image), ()
            if refines:
                low, args = _condition(stage, stage.scaling.base(one_flux), part)
                x_0 = stage.scaling.detail(stage.scaling.fine(one_flux), low)
            elif stage.length == N_FINE:
                x_0 = stage.scaling.fine(one_flux)
            else:
                x_0 = stage.scaling.base(one_flux)
            noise = _noise(x_0.shape, 1000 * number + part)
            x_t = denoiser.schedule.alpha(t) * x_0 + denoiser.schedule.sigma(t) * noise
            answer = denoiser(x_t.float(), t, stage._condition(context, *args))
            losses.append((answer - x_0).square().mean(1))
        losses = torch.cat(losses).double() * ((sigma**2 + 1) / sigma**2)
        found[str(level)] = losses.mean().item()
    return found


def _condition(stage, base, seed):
    level = stage.process.inference_augmentation
    low = upsample(base + level * _noise(base.shape, 77 + seed))
    return low, (low, stage._told(torch.full((len(base),), level)))


@torch.no_grad()
def draw(stage, image, n_candidates, before=None, seed=0):
    """Standardised spectra (n * n_candidates, length), and their redshifts where drawn first.

    `before` is what the first stage drew, of what a second stage refines.
    """
    spectra, redshifts = [], []
    for part, one in enumerate(image.split(16)):
        n = len(one) * n_candidates
        place = slice(part * 16 * n_candidates, part * 16 * n_candidates + n)
        noise = _noise((n, stage.length), (seed + 1) * 100_000 + part)
        base = redshift = None
        if before is not None:
            base, redshift = (None if drawn is None else drawn[place] for drawn in before)
        if isinstance(stage, PublishedDiffusionStage):
            # 25 steps in place of 250 ancestral ones, and with bounds that these do not have
            drawn = stage.sample(one, noise, base, sampler="ddim", n_steps=25, clip=(-3, 3))
        elif before is not None:
            extra = _noise((n, N_BASE), (seed + 2) * 100_000 + part)
            told = {"redshift": redshift, "n_steps": 10}
            drawn = stage.sample(stage.encode(one), base, noise, extra, **told)[0]
        else:
            context = stage.encode(one)
            if stage.density is not None:
                generator = torch.Generator().manual_seed(seed + part)
                uniform = torch.rand(len(one), n_candidates, generator=generator)
                redshift = stage.draw_redshift(one, context, uniform.double())
            drawn = stage.sample(context, noise, n_steps=18, redshift=redshift)[0]
        spectra.append(drawn)
        redshifts.append(redshift)
    return torch.cat(spectra), None if redshifts[0] is None else torch.cat(redshifts)


def spectra_quality(flux, truth, redshift, lsf):
    """Error, CRPS and redshift scatter of relative fluxes (n, m, n_wave)."""
    flux = flux / flux.mean(-1, keepdims=True)
    truth = truth / truth.mean(-1, keepdims=True)
    n, m = flux.shape[:2]
    log, log_truth = np.log(flux), np.log(truth)[:, None]
    # fair for any number of candidates: Ferro 2014, doi:10.1002/qj.2270
    spread = sum(
        np.abs(log[:, i] - log[:, j]).mean(-1) for i in range(m) for j in range(m) if i != j
    ) / (m * (m - 1))
    crps = np.abs(log - log_truth).mean((1, 2)) - spread / 2
    first = _on_fine_grid(flux[:, 0])
    spectrum = from_arrays(WAVELENGTH, first, lsf=np.full(N_FINE, lsf))
    measured = measure_redshift(spectrum).redshift
    quality = redshift_quality(measured, redshift)
    return {
        "n_galaxies": n,
        "n_candidates": m,
        "pixel_error": float(np.median(np.abs(flux[:, 0] / truth - 1))),
        "crps": float(crps.mean()),
        "crps_error": float(crps.std() / np.sqrt(n)),
        "sigma_mad": quality.sigma_mad,
        "sigma_mad_error": quality.sigma_mad_error,
        "outliers": quality.outlier_fraction,
        **line_error(first, measured, _on_fine_grid(truth), redshift),
    }


def _on_fine_grid(flux):
    if flux.shape[-1] == N_FINE:
        return flux.astype(float)
    return upsample(torch.from_numpy(np.log(flux)).float()).exp().numpy().astype(float)


def line_error(flux, redshift, truth, true_redshift):
    """Mean error of the flux of H-alpha with [N II], dex, each at its own redshift.

    Of galaxies that truly have the line; none counts more than one dex, which is also for
    those without it in their spectrum.
    """
    line = list(LINES).index("ha_nii")
    true = {key: value[:, line] for key, value in shapes_at(truth, true_redshift).items()}
    seen = true["ew"] > MIN_EW
    found = shapes_at(flux[seen], redshift[seen])["line_flux"][:, line]
    ratio = np.nan_to_num(found / true["line_flux"][seen], nan=0.0).clip(0.1, 10.0)
    error = np.abs(np.log10(ratio))
    return {
        "line_error": float(error.mean()),
        "line_error_error": float(error.std() / np.sqrt(len(error))),
        "n_lines": len(error),
    }


def load(name, options):
    """A variant trained before."""
    stage = VARIANTS[name][0]()
    weights = torch.load(options.results.with_name(f"arch-{name}.pt"), weights_only=True)
    stage.load_state_dict(weights)
    stage.autocast = torch.bfloat16
    return stage.eval().requires_grad_(False)


def judge(name, stage, pairs, options):
    """All numbers of one variant."""
    image, flux, redshift = pairs
    n, m = options.n_galaxies, 2
    # as in use: a second stage refines what the first one draws
    first = load(BEFORE[name], options) if name in BEFORE else None
    before = None if first is None else draw(first, image[:n], m, seed=5)
    with FlopCounterMode(display=False) as counter:
        draw(stage, image[:1], 1, None if first is None else draw(first, image[:1], 1))
    drawn, _ = draw(stage, image[:n], m, before)
    truth, fine, loss = flux[:n], name in FINE, {}
    if name in PUBLISHED:
        relative, truth = drawn.exp(), truth if fine else truth[:, ::BLOCK]
    elif fine:
        relative = (drawn * stage.scaling.std + upsample(stage.scaling.mean)).exp()
    else:
        relative, truth = (drawn * stage.scaling.std + stage.scaling.mean).exp(), to_base(truth)
    # told a redshift, or in other units, the loss would be another
    if name not in PUBLISHED and stage.network.rest is None:
        loss = held_out_loss(stage, image, flux)
    return {
        "loss": loss,
        "gflop": counter.get_total_flops() / 1e9,
        **spectra_quality(
            relative.unflatten(0, (n, m)).double().numpy(),
            truth.double().numpy(),
            redshift[:n],
            LSF["fine" if fine else "base"],
        ),
    }
