"""Three finished runs of published networks to one spectrograph folder."""

from pathlib import Path

from photospec.errors import InputError
from photospec.published.stage import build_published
from photospec.weights import PublishedConfig, load_module, save_cascade

__all__ = ["pack_published"]


def pack_published(runs, output, config, sizes, *, overwrite=False):
    """Join runs to a folder that holds the networks as a published checkpoint would.

    Parameters
    ----------
    runs : dict
        Run folder of each stage.
    output : path-like
        Folder to write.
    config : SpectrographConfig
        Bands, pixels and line-spread function of the pairs, provenance.
    sizes : dict of PublishedSize
        By stage, with underscores.
    overwrite : bool
        Replace a spectrograph there.

    Returns
    -------
    PublishedConfig

    Raises
    ------
    InputError
        The stages do not go together.
    """
    networks = {
        name: load_module(
            build_published(name.replace("_", "-"), size, n_bands=len(config.bands)),
            Path(runs[name.replace("_", "-")]) / "weights.safetensors",
        )
        for name, size in sizes.items()
    }
    base, size = networks["base"], sizes["base"]
    for name, network in networks.items():
        same = network.image_mean.equal(base.image_mean) and network.image_std.equal(base.image_std)
        if not same or sizes[name].spectral_scaling != size.spectral_scaling:
            raise InputError(
                f"runs: expected the scalings of images and spectra of the base run in all, got "
                f"others in the {name} run; were they trained on other pairs?"
            )
    shared = ("bands", "image_size", "pixel_scale", "lsf_wavelength", "lsf_sigma", "provenance")
    standardised = size.standardise
    published = PublishedConfig(
        **{name: getattr(config, name) for name in shared},
        image_mean=tuple(base.image_mean.tolist()) if standardised else (),
        image_std=tuple(base.image_std.tolist()) if standardised else (),
        spectral_scaling=size.spectral_scaling,
    )
    states = {name: network.published.state_dict() for name, network in networks.items()}
    save_cascade(output, published.assemble(states), published, overwrite=overwrite)
    return published
