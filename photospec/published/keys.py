"""The keys of the published settings files, and what each of them is here.

A function of `MAPPED` takes a key's value, the stage and all keys, and returns the changes of
our settings by dotted name, and a note; or it raises `Refused`.
"""

from photospec.published.unet import CONDITIONINGS

__all__ = ["IGNORED", "KINDS", "MAPPED", "Refused"]


class Refused(Exception):
    """A value that we cannot do."""

    def __init__(self, expected, got, hint=""):
        self.expected, self.got, self.hint = expected, got, hint


_CHECKPOINT = "made after training, from finished runs, which photospec predict --weights takes"
_RANKING = "of the contrastive network, which has a file and a training of its own"
#: Keys without a setting here, and why.
IGNORED = {
    "output_path": "the run folder is the argument -o",
    "multigpu": "several GPUs are taken with --processes, or under torchrun or SLURM",
    "distributed": "processes are told by --processes, torchrun or SLURM",
    "spectrumunet.pretrained_encoder": "no weights are downloaded; fine_tuning.init begins with "
    "given ones",
    "resnet.pretrained": "no weights are downloaded; fine_tuning.init begins with given ones",
    "load_con_from": "validation here ranks no candidates, so it needs no contrastive network",
    "load_lr_gen_from": _CHECKPOINT,
    "load_lr_con_from": _CHECKPOINT,
    "load_sr_gen_from": _CHECKPOINT,
    "load_sr_con_from": _CHECKPOINT,
    "num_lr_to_save": "of prediction: candidates are an option of photospec predict",
    "num_sr_to_save": "of prediction: candidates are an option of photospec predict",
}

#: Types of values, where a function does not look itself.
KINDS = {
    "mp_loaders": int,
    "batch_size": int,
    "learning_rate": float,
    "optim.learning_rate": float,
    "weight_decay": float,
    "max_epochs": int,
    "polyak_alpha": float,
    "spectrumunet.dim": int,
    "spectrumunet.dim_mults": "numbers",
    "spectrumunet.attention_depths": "numbers",
    "time_steps": int,
    "img_res": int,
    "use_logger": bool,
    "optim.lr_params.power": float,
    "optim.lr_params.min_lr": float,
    "latent_dimensionality": int,
    "resnet.base_channels": int,
    "resnet.channel_mults": "numbers",
    "num_eval_samples": int,
    "num_eval_predictions": int,
    "num_shown": int,
}


def _to(name, low=None, high=None):
    """A number that is a setting here under another name."""

    def take(value, stage, flat):
        if value is None:
            return {}, f"{name}, as in the preset"
        if low is not None:
            value = max(low, min(high or value, value))
        return {name: value}, f"{name} = {value}"

    return take


def _learning_rate(value, stage, flat):
    other = flat.get("learning_rate"), flat.get("optim.learning_rate")
    if None not in other and other[0] != other[1]:
        raise Refused(f"that of optim.learning_rate, {other[1]}", other[0])
    changes, note = _to("optimisation.learning_rate")(value, stage, flat)
    if changes and value < 1e-6:  # the preset's last rate
        changes = {"optimisation.final_learning_rate": value, **changes}
    return changes, note


def _of_generative(take):
    return lambda value, stage, flat: (
        ({}, f"ignored: {_RANKING}") if stage != "contrastive" else take(value, stage, flat)
    )


def _dataset(value, stage, flat):
    kind = {"datasets.lr_5band": "base", "datasets.sr_5band": "super-resolution"}.get(value)
    if kind is None:
        raise Refused("datasets.lr_5band or datasets.sr_5band", value)
    if stage == "contrastive":
        spectra = "base" if kind == "base" else "fine"
        return {
            "published.contrastive_spectra": spectra
        }, f"published.contrastive_spectra = {spectra}"
    if kind != stage:
        raise Refused(f"that of the stage {stage}", value, f"it is that of {kind}")
    return {}, f"the stage {stage}"


def _choice(name, **choices):
    def take(value, stage, flat):
        if str(value).lower() not in choices:
            raise Refused(" or ".join(choices), value)
        value = choices[str(value).lower()]
        return {name: value}, f"{name} = {value}"

    return take


def _conditioning(value, stage, flat):
    attention, channel, nothing = CONDITIONINGS
    choices = {"x-attention": attention, "concat": channel, "none": nothing}
    return _choice("published.conditioning", **choices)(value, stage, flat)


#: Steps of preprocessing that pairs files have behind them.
_DONE = ("scale", "smooth", "angstroem")


def _preprocessing(value, stage, flat):
    steps = value if isinstance(value, list) else str(value).replace("+", ",").split(",")
    steps = [str(step).strip().lower() for step in steps]
    scalings = [step for step in steps if step not in _DONE]
    if len(scalings) > 1 or not set(scalings) <= {"log", "arcsinh", "none"}:
        raise Refused("log, arcsinh or none, and scale, smooth, angstroem", value)
    scaling = scalings[0] if scalings else "none"
    return (
        {"published.spectral_scaling": scaling},
        f"published.spectral_scaling = {scaling}; pairs files hold smoothed spectra in Angstrom",
    )


def _reduction(value, stage, flat):
    if value not in (None, "none", "subsample"):
        raise Refused("subsample or none", value)
    return {}, "every eighth bin is what the base stage takes"


def _backbone(value, stage, flat):
    if value != "spectrumunet":
        raise Refused("spectrumunet", value)
    return {"architecture": "published"}, "architecture = published"


def _con_backbone(value, stage, flat):
    if "resnet" not in str(value).lower():
        raise Refused("a resnet", value)
    return {}, "the published contrastive network"


def _encoder_size(value, stage, flat):
    # Of its answer, 512 in a ResNet-18 of 64 channels; or the number of its layers.
    if str(value).lower() in ("18", "resnet18"):
        return {}, "the ResNet-18 of the published network"
    if isinstance(value, bool) or not isinstance(value, int) or value < 64 or value % 8:
        raise Refused("18 (layers), or a multiple of 8 (width of the tokens)", value)
    return {"published.image_width": value // 8}, f"published.image_width = {value // 8}"


def _widths(name, width, multipliers, stop):
    """Of two keys, a width and what it is multiplied by."""

    def take(value, stage, flat):
        first, factors = flat.get(width) or 64, flat.get(multipliers) or (1, 2, 4, 8, 16)
        widths = tuple(first * factor for factor in factors[:stop])
        return {name: widths}, f"{name} = {list(widths)}"

    return take


# The last multiplier of the denoiser's has no down block.
_UNET = _widths("published.widths", "spectrumunet.dim", "spectrumunet.dim_mults", -1)
_RESNET = _widths("published.spectrum_widths", "resnet.base_channels", "resnet.channel_mults", None)


def _attention(value, stage, flat):
    # The bottom, which follows the last down block, has attention in any case.
    bottom = len(flat.get("spectrumunet.dim_mults") or range(5)) - 1
    depths = tuple(depth for depth in value if depth != bottom)
    return {"published.attention_depths": depths}, f"published.attention_depths = {list(depths)}"


def _image_size(value, stage, flat):
    if value != 64:
        raise Refused("64, the pixels that published networks see", value)
    return {}, "images are enlarged and cropped to 64 pixels"


_FUNCTIONS = ("static", "exponential", "polynomial", "linear", "cosine")
_NEEDS_MORE = {
    "piecewise_static": "milestones and step_factor",
    "linear-warmup-polynomial": "warmup_steps",
}


def _lr_function(value, stage, flat):
    if value not in _FUNCTIONS:
        needed = _NEEDS_MORE.get(value) if isinstance(value, str) else None
        hint = f"it needs {needed}, which only our own settings have" if needed else ""
        raise Refused(" or ".join(_FUNCTIONS), value, hint)
    return {"optimisation.schedule": value}, f"optimisation.schedule = {value}"


def _logger(value, stage, flat):
    if not value:
        return {"run.trackers": ()}, "run.trackers, none"
    return {"run.trackers": ("wandb",)}, "run.trackers = wandb"


def _load_from(value, stage, flat):
    if value in (None, "", "none", False):
        return {}, "no weights to begin with"
    raise Refused(
        "none", value, "a run goes on with --resume; --init begins with the weights of a folder"
    )


MAPPED = {
    "dataset_file": _dataset,
    "mp_loaders": _to("run.workers", 0),
    "batch_size": _to("batch_size"),
    "learning_rate": _learning_rate,
    "optim.learning_rate": _learning_rate,
    "weight_decay": _to("optimisation.weight_decay"),
    "max_epochs": _to("max_epochs", 1),
    "beta_schedule": _choice("published.schedule", cosine="cosine", linear="linear"),
    "polyak_alpha": _to("optimisation.ema_decay"),
    "preprocessing": _preprocessing,
    "reduction": _reduction,
    "backbone": _backbone,
    "spectrumunet.encoder_size": _encoder_size,
    "spectrumunet.dim": _UNET,
    "spectrumunet.attention_depths": _attention,
    "spectrumunet.dim_mults": _UNET,
    "conditioning": _conditioning,
    "time_steps": _to("published.n_times"),
    "img_res": _image_size,
    "use_logger": _logger,
    "optim.lr_function": _lr_function,
    "optim.lr_params.power": _to("optimisation.power"),
    "optim.lr_params.min_lr": _to("optimisation.final_learning_rate"),
    "con_backbone": _of_generative(_con_backbone),
    "latent_dimensionality": _of_generative(_to("published.embedding_size")),
    "resnet.base_channels": _of_generative(_RESNET),
    "resnet.channel_mults": _of_generative(_RESNET),
    "load_from": _load_from,
    "num_eval_samples": _to("run.score_pairs", 2),
    "num_eval_predictions": _to("run.score_candidates", 2),
    "num_shown": _to("run.pictures", 1, 16),
}
