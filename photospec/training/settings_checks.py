"""Settings that each make sense, but not together."""

from photospec.networks.process import Process
from photospec.training.settings_common import require
from photospec.training.settings_fine_tuning import parts_of

__all__ = ["check_together"]


def check_together(config):
    """Refuse combinations of settings that cannot work or would do nothing.

    Parameters
    ----------
    config : TrainConfig

    Raises
    ------
    InputError
        Naming one of the settings.
    """
    data, process = config.data, config.diffusion.process
    contrastive, published = config.stage == "contrastive", config.architecture == "published"
    require(
        data.weights != "ivar" or config.target == "observed",
        "data.weights",
        "mask or none with target truth, whose spectra have no noise",
        data.weights,
    )
    require(
        data.weights != "ivar" or not contrastive,
        "data.weights",
        "mask or none for the contrastive network, whose loss has no bins",
        data.weights,
    )
    for unused, why in (
        (contrastive, "for the contrastive network, which has no diffusion"),
        (published, "for published networks, which have their own process"),
    ):
        require(
            not unused or not process.condition_dropout,
            "diffusion.process.condition_dropout",
            f"0 {why}",
            process.condition_dropout,
        )
        require(
            not unused or config.line_weight == 1, "line_weight", f"1 {why}", config.line_weight
        )
        require(
            not unused or process == Process(),
            "diffusion.process",
            f"the defaults {why}",
            _changed(process),
        )
    names = parts_of(config)
    for name in config.fine_tuning.frozen:
        require(name in names, "fine_tuning.frozen", f"parts among {', '.join(names)}", name)
    require(
        set(config.fine_tuning.frozen) < set(names),
        "fine_tuning.frozen",
        "a part that is left to train",
        ", ".join(config.fine_tuning.frozen),
    )


def _changed(process):
    default = Process()
    names = [name for name in vars(default) if getattr(default, name) != getattr(process, name)]
    return ", ".join(names)
