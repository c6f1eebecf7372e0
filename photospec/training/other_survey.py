"""Networks of one survey as a beginning for those of another, with other bands and redshifts.

Most of a network is about spectra and does not know the survey. What belongs to bands (patches
of the image, photometry) is taken over for bands of the same name and begins at zero for others;
rest-frame templates lie in a table over rest wavelength, which grows at its blue end where
redshifts reach further.
"""

from itertools import pairwise

import torch

__all__ = ["take_over"]


@torch.no_grad()
def take_over(network, theirs, bands, their_bands):
    """Fill the network of a stage with what another one of the same kind has for it.

    Scalings (of images, spectra and redshifts) are left as they are: they have to be fitted.

    Parameters
    ----------
    network, theirs : torch.nn.Module
        Stages of the same kind and width; sizes may differ elsewhere.
    bands, their_bands : sequence of str

    Returns
    -------
    list of str
        Tensors that could not be filled and keep their random numbers.
    """
    shared = [(i, list(their_bands).index(b)) for i, b in enumerate(bands) if b in their_bands]
    ours, found = dict(network.named_parameters()), dict(theirs.named_parameters())
    n_ours, n_theirs = len(bands), len(their_bands)
    left = []
    for name, tensor in ours.items():
        given = found.get(name)
        if given is None:
            left.append(name)
        elif name.endswith("patch.weight"):
            _blocks(tensor, given, shared, n_ours, n_theirs)
        elif name.endswith("summary_in.weight"):
            _features(tensor, given, shared, n_ours, n_theirs)
        elif name.endswith("density.mix.0.weight"):
            n, m = _n_features(network, n_ours), _n_features(theirs, n_theirs)
            _features(tensor[:, :n], given[:, :m], shared, n_ours, n_theirs)
            tensor[:, n:] = given[:, m:]
        elif name.endswith("templates.table") and given.shape[1:] == tensor.shape[1:]:
            _table(tensor, given, network.network.templates, theirs.network.templates)
        elif given.shape == tensor.shape:
            tensor.copy_(given)
        else:
            left.append(name)
    return left


def _n_features(network, n_bands):
    encoder = getattr(network, "encoder", None) or network.image_encoder
    return (2 * n_bands - 1) * encoder.apertures.shape[1]


def _table(tensor, given, ours, theirs):
    """Take over rows of rest-frame templates by wavelength; those only we have stay as they are."""
    place = torch.arange(len(tensor)) + (ours.first - theirs.first) / theirs.step
    inside = (place >= 0) & (place <= len(given) - 1)
    left = place[inside].long().clamp(max=len(given) - 2)
    part = (place[inside] - left)[:, None].to(given)
    tensor[inside] = torch.lerp(given[left], given[left + 1], part)


def _blocks(tensor, given, shared, n_ours, n_theirs):
    """Take over columns of patches, band by band."""
    ours, theirs = tensor.unflatten(1, (n_ours, -1)), given.unflatten(1, (n_theirs, -1))
    if ours.shape[-1] != theirs.shape[-1]:
        return
    ours.zero_()
    for i, j in shared:
        ours[:, i] = theirs[:, j]


def _features(tensor, given, shared, n_ours, n_theirs):
    """Take over columns of photometry: fluxes of all bands in each aperture, then colours."""
    n_apertures = tensor.shape[1] // (2 * n_ours - 1)
    tensor.zero_()
    ours = tensor[:, : n_ours * n_apertures].unflatten(1, (n_apertures, n_ours))
    theirs = given[:, : n_theirs * n_apertures].unflatten(1, (n_apertures, n_theirs))
    for i, j in shared:
        ours[:, :, i] = theirs[:, :, j]
    ours = tensor[:, n_ours * n_apertures :].unflatten(1, (n_apertures, n_ours - 1))
    theirs = given[:, n_theirs * n_apertures :].unflatten(1, (n_apertures, n_theirs - 1))
    for (i, j), (i_next, j_next) in pairwise(shared):
        if (i_next, j_next) == (i + 1, j + 1):  # the same colour
            ours[:, :, i] = theirs[:, :, j]
