"""The head that tells active nuclei by the image, on features of a finished base stage.

As for the redshift density, features are computed once
(`photospec.training.density.density_features`) and the small head is fitted to them in seconds.
Classes may be as rare or frequent as they come: each counts as much as any other in the loss, so
that the posterior is that of equally frequent classes.
"""

import copy

import torch
from torch import nn

from photospec.errors import InputError
from photospec.networks.line_classes import LINE_CLASSES, LineClasses

__all__ = ["fit_line_classes"]

_HELD_OUT = 0.15  # share of the galaxies that say when to stop


def fit_line_classes(
    encoder,
    features,
    kind,
    galaxy=None,
    *,
    seed=0,
    max_epochs=40,
    batch_size=256,
    learning_rate=1e-3,
    weight_decay=0.05,
    jitter=0.1,
):
    """Fit a `LineClasses` to galaxies whose emission lines are known.

    Parameters
    ----------
    encoder : photospec.networks.image_encoder.ImageEncoder
        Whose features these are.
    features : tuple of tensor
        Photometry (n, n_features) and mean tokens (n, 1, width) of images.
    kind : sequence of str (n,)
        Out of `LINE_CLASSES`.
    galaxy : sequence of int (n,), optional
        Which galaxy each image is of, where there are several images of one: they are held out
        together. By default each is another.
    seed : int
        Same numbers out.
    max_epochs, batch_size : int
    learning_rate, weight_decay : float
        Of AdamW.
    jitter : float
        Noise added to the features, in their standard deviations: galaxies with known lines are
        few, and the head would learn them by heart.

    Returns
    -------
    classes : LineClasses
        Of the epoch with the smallest loss on the galaxies held out.
    loss : float
        That loss: mean negative log-posterior, classes weighted alike; log 4 = 1.39 for chance.

    Raises
    ------
    InputError
        Other kinds, fewer than two galaxies of one, numbers of features that do not agree.
    """
    photometry, tokens = features
    names = [str(name) for name in kind]
    if len(names) != len(photometry) or set(names) - set(LINE_CLASSES):
        raise InputError(
            f"kind: expected one of {', '.join(LINE_CLASSES)} for each of {len(photometry)} "
            f"images, got {len(names)} of {', '.join(sorted(set(names))[:5])}"
        )
    target = torch.tensor([LINE_CLASSES.index(name) for name in names])
    galaxy = torch.arange(len(target)) if galaxy is None else torch.as_tensor(galaxy)
    generator = torch.Generator().manual_seed(seed)
    each, number = galaxy.unique(return_inverse=True)
    held_out = (torch.rand(len(each), generator=generator) < _HELD_OUT)[number]
    counts = [target[part].bincount(minlength=len(LINE_CLASSES)) for part in (~held_out, held_out)]
    if min(count.min() for count in counts) < 1:
        raise InputError(
            f"kind: expected some tens of each of {', '.join(LINE_CLASSES)}, got "
            f"{target.bincount(minlength=len(LINE_CLASSES)).tolist()}"
        )
    weight = [len(LINE_CLASSES) / count for count in counts]  # sums to the same for each class
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classes = LineClasses.like(encoder)
    scatter = tokens.std(dim=0, keepdim=True)
    optimiser = torch.optim.AdamW(classes.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max_epochs)
    learned = torch.nonzero(~held_out)[:, 0]

    def loss_of(rows, weight, noise):
        known = photometry[rows], tokens[rows]
        if noise:
            one, other = (torch.randn(part.shape, generator=generator) for part in known)
            known = known[0] + noise * one, known[1] + noise * scatter * other
        weight = weight[target[rows]]
        lost = nn.functional.nll_loss(classes(*known), target[rows], reduction="none")
        return (weight * lost).sum() / weight.sum()

    best, state = torch.inf, None
    for _ in range(max_epochs):
        order = learned[torch.randperm(len(learned), generator=generator)]
        for rows in order.split(batch_size):
            loss = loss_of(rows, weight[0], jitter)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            loss = loss_of(torch.nonzero(held_out)[:, 0], weight[1], 0.0).item()
        if loss < best:
            best, state = loss, copy.deepcopy(classes.state_dict())
    classes.load_state_dict(state)
    return classes.eval().requires_grad_(False), best
