"""Settings files of the published code, read as ours: each key mapped, ignored or refused."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from photospec.config import from_dict, to_dict
from photospec.errors import InputError
from photospec.published.config import published_preset
from photospec.published.unet import CONDITIONINGS
from photospec.training.settings import TrainConfig

__all__ = ["IGNORED", "KINDS", "MAPPED", "PublishedSettings", "Refused", "read_published"]


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
    "distributed": "processes are started by --processes, torchrun or SLURM",
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
    """Return a number that is a setting here under another name."""

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
    """Return the width of two keys: one, and what it is multiplied by."""

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


@dataclass(frozen=True)
class PublishedSettings:
    """A settings file of the published code in our words.

    Attributes
    ----------
    config : TrainConfig
    notes : dict of str
        What became of each key of the file, in its order.
    """

    config: object
    notes: dict

    def __repr__(self):
        ignored = sum(note.startswith("ignored") for note in self.notes.values())
        return (
            f"<PublishedSettings: {self.config.stage}, {len(self.notes) - ignored} keys mapped, "
            f"{ignored} ignored>"
        )


def read_published(path: str | PathLike, stage: str) -> PublishedSettings:
    """Read ``params_contrastive.yml`` or ``params_generative.yml``.

    What the file does not say is as in the preset "published".

    Parameters
    ----------
    path : path-like
    stage : {"contrastive", "base", "super-resolution"}
        Which network the file shall be read for; its ``dataset_file`` has to agree.

    Returns
    -------
    PublishedSettings

    Raises
    ------
    InputError
        Not such a file, or of another stage; a key that is not known, or whose value we
        cannot do.
    """
    flat = _flat(_load(path), path)
    changes, notes = {}, {}
    generative = any(key == "backbone" or key.startswith("spectrumunet.") for key in flat)
    if generative == (stage == "contrastive"):
        kind = "params_generative.yml" if generative else "params_contrastive.yml"
        raise InputError(
            f"--published: expected settings of the stage {stage}, got {path} ({kind})"
        )
    try:
        for key in flat:
            flat[key] = _typed(key, flat[key])
        for key, value in flat.items():
            if key in IGNORED:
                notes[key] = f"ignored: {IGNORED[key]}"
            elif key in MAPPED:
                new, notes[key] = MAPPED[key](value, stage, flat)
                changes |= new
            else:
                raise Refused("a key of the published settings", key, "is it misspelt?")
    except Refused as refusal:
        raise InputError(
            f"--published: {key}: expected {refusal.expected}, got {refusal.got!r} in {path}"
            f"{f'; {refusal.hint}' * bool(refusal.hint)}"
        ) from None
    try:
        config = from_dict(TrainConfig, _changed(to_dict(published_preset(stage)), changes))
    except InputError as error:
        raise InputError(f"--published: {path} as {error}") from None
    return PublishedSettings(config, notes)


def _load(path):
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--published: expected a YAML file, got {path} ({error})") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"--published: expected YAML, got {path}: {reason}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"--published: expected keys and values in {path}, got {type(content).__name__}"
        )
    return content


def _flat(content, path, prefix=""):
    """Flatten the tables of a file to keys with dots."""
    flat = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name.count(".") < 3:
            flat |= _flat(value, path, f"{name}.")
        else:
            flat[name] = value
    return flat


def _typed(key, value):
    """Return a value in the type that its key has; YAML takes 1e-4 for a text."""
    kind = KINDS.get(key)
    if kind is None or value is None:
        return value
    try:
        if kind is bool or isinstance(value, bool):
            if kind is not bool or not isinstance(value, bool):
                raise ValueError
            return value
        if kind == "numbers":
            if isinstance(value, str) or any(not isinstance(one, int) for one in value):
                raise ValueError
            return tuple(value)
        number = kind(float(value)) if kind is int else kind(value)
        if kind is int and number != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise Refused(names.get(kind, "whole numbers"), value) from None
    return number


def _changed(settings, changes):
    """Change settings in nested dicts by dotted name."""
    for name, value in changes.items():
        table, _, entry = name.rpartition(".")
        (settings[table] if table else settings)[entry] = value
    return settings
