"""The redshift density alone, on features of a finished base stage.

In the base stage's training the density sees one batch of galaxies per step, beside a
network a hundred times its size. Its features do not change any more once that has ended:
computed once for all pairs, they let the small head be fitted for many epochs in a minute.
"""

import copy
import logging

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping

from photospec.errors import InputError

__all__ = ["adapt_density", "density_features", "refine_density"]

_AT_ONCE = 256  # images whose features are computed together


@torch.no_grad()
def density_features(stage, images):
    """Return the photometry (n, n_features) and mean tokens (n, 1, width) of images.

    Parameters
    ----------
    stage : photospec.networks.stage.BaseStage
    images : iterable of tensor (m, n_bands, size, size)

    Returns
    -------
    tuple of tensor
    """
    parts = []
    for image in images:
        tokens = stage.encode(image).float().mean(dim=1, keepdim=True)
        parts.append((stage.encoder.standardised(image), tokens))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def refine_density(
    stage,
    stream,
    *,
    seed=0,
    max_epochs=40,
    batch_size=512,
    learning_rate=1e-3,
    weight_decay=0.05,
    patience=6,
):
    """Fit the redshift density of a base stage to all pairs, the rest of it as it is.

    Parameters
    ----------
    stage : photospec.networks.stage.BaseStage
        Changed in place: it gets the density of the epoch with the smallest loss on the
        held-out pairs, or keeps its own if no epoch is better.
    stream : photospec.training.data.PairsStream
    seed : int
        Same numbers out.
    max_epochs, batch_size : int
    learning_rate, weight_decay : float
        Of AdamW.
    patience : int
        Epochs without a better one after which it ends.

    Returns
    -------
    dict
        ``before`` and ``after``: mean negative log-likelihood of the held-out pairs;
        ``epochs``.

    Raises
    ------
    InputError
        If the stage has no density, or the pairs have no redshifts.
    """
    if stage.density is None:
        raise InputError("stage: expected one that draws redshifts, got one without a density")
    held_out = stream.validation()
    if held_out.redshift is None:
        raise InputError("pairs: expected redshifts, got none")
    stage.eval()
    known = density_features(stage, held_out.image.split(_AT_ONCE)), held_out.redshift
    numbers = np.array_split(np.arange(stream.n_train), max(1, stream.n_train // _AT_ONCE))
    redshift = []

    def images():
        for number, part in enumerate(numbers):
            batch = stream.without_bands(stream.read(part), number, 5)
            redshift.append(batch.redshift)
            yield batch.image

    features = density_features(stage, images())
    redshift = torch.cat(redshift)
    generator = torch.Generator().manual_seed(seed)
    density = copy.deepcopy(stage.density).requires_grad_(True)
    optimiser = torch.optim.AdamW(density.parameters(), lr=learning_rate, weight_decay=weight_decay)

    def update(engine, rows):
        loss = density.loss(*(part[rows] for part in features), redshift[rows]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    best = {"loss": _loss(stage.density, *known), "state": None}
    before = best["loss"]
    engine = Engine(update)
    judge = Engine(lambda _, __: None)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max_epochs)

    @engine.on(Events.EPOCH_COMPLETED)
    def _judge():
        schedule.step()
        loss = _loss(density, *known)
        if loss < best["loss"]:
            best.update(loss=loss, state=copy.deepcopy(density.state_dict()))
        judge.state.metrics["loss"] = loss
        judge.fire_event(Events.COMPLETED)

    @engine.on(Events.EPOCH_STARTED)
    def _shuffle():
        order = torch.randperm(len(redshift), generator=generator)
        engine.set_data(order.split(batch_size))

    stopping = EarlyStopping(patience, lambda judged: -judged.state.metrics["loss"], engine)
    stopping.logger.setLevel(logging.WARNING)  # that it stops is no news
    judge.add_event_handler(Events.COMPLETED, stopping)
    n_batches = -(-len(redshift) // batch_size)
    engine.run([None] * n_batches, max_epochs=max_epochs, epoch_length=n_batches)
    if best["state"] is not None:
        stage.density.load_state_dict(best["state"])
    return {"before": before, "after": best["loss"], "epochs": engine.state.epoch}


def adapt_density(
    stage,
    parts,
    *,
    seed=0,
    n_epochs=8,
    batch_size=512,
    learning_rate=2e-4,
    weight_decay=0.1,
    jitter=0.1,
):
    """Fit a finished density a little further, to a mixture of samples of given shares.

    Where samples disagree about the redshift of the same colours, as real and simulated galaxies
    do, shares decide. A few epochs from what was learnt from many more galaxies, with noise on the
    features: the real ones are few, and are learnt by heart from then on.

    Parameters
    ----------
    stage : photospec.networks.stage.BaseStage
        Its density is changed in place.
    parts : sequence of ((tensor, tensor), tensor, float)
        Of each sample: features of `density_features`, redshifts (n,), and its share, whatever
        its size.
    seed : int
        Same numbers out.
    n_epochs, batch_size : int
    learning_rate, weight_decay : float
        Of AdamW.
    jitter : float
        Noise on the features, in their standard deviations.

    Raises
    ------
    InputError
        Shares that are not positive, samples without galaxies.
    """
    if not parts or any(not share > 0 or not len(z) for _, z, share in parts):
        raise InputError(
            "parts: expected samples with some galaxies and a positive share each, got "
            f"{[(len(z), share) for _, z, share in parts]}"
        )
    photometry, tokens = (torch.cat(each) for each in zip(*(f for f, *_ in parts), strict=True))
    redshift = torch.cat([z for _, z, _ in parts])
    weight = torch.cat([torch.full((len(z),), share / len(z)) for _, z, share in parts])
    weight = weight / weight.mean()
    scatter = tokens.std(dim=0, keepdim=True)
    density = stage.density.requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(density.parameters(), lr=learning_rate, weight_decay=weight_decay)
    n_steps = n_epochs * -(-len(redshift) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    for _ in range(n_epochs):
        for rows in torch.randperm(len(redshift), generator=generator).split(batch_size):
            known = photometry[rows], tokens[rows]
            one, other = (torch.randn(part.shape, generator=generator) for part in known)
            known = known[0] + jitter * one, known[1] + jitter * scatter * other
            loss = (weight[rows] * density.loss(*known, redshift[rows])).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    density.requires_grad_(False)


@torch.no_grad()
def _loss(density, features, redshift):
    return density.loss(*features, redshift).mean().item()
