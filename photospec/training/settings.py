"""Settings of a training run: frozen dataclasses whose TOML files explain themselves.

`TrainConfig` has one table for each topic, below; ``(published: ...)`` in a comment is what
arXiv:2406.18175 used. Presets are named settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import ClassVar, Self

from photospec.config import read_toml, setting, validate
from photospec.errors import InputError
from photospec.networks.process import Process
from photospec.networks.sizes import (
    BASE,
    CONTRASTIVE,
    STAGES,
    SUPER_RESOLUTION,
    ContrastiveSize,
    EncoderSize,
    StageSize,
    TransformerSize,
)
from photospec.training.extensions import CONFIGS, PRESETS, SETTINGS_READERS, register_preset
from photospec.weights import WeightsConfig, read_config

__all__ = [
    "STAGES",
    "DataSettings",
    "FineTuning",
    "Optimisation",
    "RunSettings",
    "TrainConfig",
    "describe_weights",
    "require",
]

#: File of a finished run's weights.
WEIGHTS = "weights.safetensors"


def require(condition, name, expected, got):
    """Raise the one-line error that names a setting, unless `condition` holds."""
    if not condition:
        raise InputError(f"{name}: expected {expected}, got {got!r}")


@dataclass(frozen=True)
class Optimisation:
    """Optimiser, learning rate and moving average."""

    optimiser: str = setting(
        "adamw",
        "adamw decays the weights themselves; adam adds the decay to the gradient (published).",
        choices=("adamw", "adam"),
    )
    betas: tuple[float, float] = setting(
        (0.9, 0.99), "Decay of the moments of the gradient (published: 0.9, 0.999).", min=0
    )
    weight_decay: float = setting(
        0.01, "Weight decay (published: 0.001 contrastive, 0 otherwise).", min=0
    )
    learning_rate: float = setting(7e-4, "The largest (published: 1e-4).")
    schedule: str = setting(
        "trapezoid",
        "How it falls after the warm-up. trapezoid: stays, then falls linearly to zero;\n"
        "linear (published), polynomial, cosine, exponential: to final_learning_rate;\n"
        "piecewise: times step_factor at every milestone; static: never.",
        choices=(
            "trapezoid",
            "static",
            "linear",
            "polynomial",
            "cosine",
            "exponential",
            "piecewise",
        ),
    )
    warmup_steps: int = setting(200, "Steps of linear increase from zero (published: 0).", min=0)
    decay_fraction: float = setting(
        0.3, "trapezoid: last part of all steps, over which it falls.", min=0, max=1
    )
    final_learning_rate: float = setting(
        0.0, "linear, polynomial, cosine, exponential: the last (published: 1e-6).", min=0
    )
    power: float = setting(1.0, "polynomial: of what is left of the steps.")
    milestones: tuple[float, ...] = setting(
        (), "piecewise: parts of the steps after which it changes.", min=0, max=1
    )
    step_factor: float = setting(0.1, "piecewise: factor at every milestone.")
    n_cycles: int = setting(
        1, "Times that the schedule is run through; more than one restarts it.", min=1
    )
    gradient_clip: float = setting(
        1.0, "Largest norm of the gradient; 0 does not clip (published).", min=0
    )
    ema_decay: float = setting(
        0.998, "Decay per step of the moving average of the weights (published: 0.9999)."
    )
    ema_warmup: bool = setting(
        True, "Let the average forget faster early on, when the weights change fast."
    )

    def __post_init__(self):
        validate(self)
        require(all(0 <= b < 1 for b in self.betas), "betas", "0 to 1, 1 excluded", self.betas)
        for name in ("learning_rate", "power", "step_factor"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(0 <= self.ema_decay < 1, "ema_decay", "0 to 1, 1 excluded", self.ema_decay)
        require(
            self.final_learning_rate <= self.learning_rate,
            "final_learning_rate",
            f"at most the learning rate {self.learning_rate}",
            self.final_learning_rate,
        )
        require(
            self.schedule != "exponential" or self.final_learning_rate > 0,
            "final_learning_rate",
            "a positive number with an exponential schedule",
            self.final_learning_rate,
        )
        inside = all(0 < m < 1 for m in self.milestones)
        require(
            inside and list(self.milestones) == sorted(set(self.milestones)),
            "milestones",
            "increasing parts of the steps, between 0 and 1",
            self.milestones,
        )
        require(
            (self.schedule == "piecewise") == bool(self.milestones),
            "milestones",
            "some with the piecewise schedule, none with others",
            self.milestones,
        )
        require(
            self.n_cycles == 1 or self.schedule not in ("trapezoid", "static"),
            "n_cycles",
            f"1 with the {self.schedule} schedule, which does not restart",
            self.n_cycles,
        )


@dataclass(frozen=True)
class RunSettings:
    """What goes on around the steps; nothing here changes what a step does."""

    log_every: int = setting(50, "Steps between lines about the training loss.", min=1)
    validation_limit: int = setting(512, "Held-out pairs behind a validation, at most.", min=1)
    score_every: int = setting(
        0,
        "Steps between validations that also draw candidates: energy score and calibration\n"
        "(diffusion stages); 0 never does.",
        min=0,
    )
    score_pairs: int = setting(64, "Held-out pairs that candidates are drawn for.", min=2)
    score_candidates: int = setting(8, "Candidates for each of them.", min=2)
    score_steps: int = setting(12, "Sampling steps of a candidate.", min=1)
    picture_every: int = setting(0, "Steps between pictures of samples; 0 draws none.", min=0)
    pictures: int = setting(4, "Held-out galaxies in a picture.", min=1, max=16)
    patience: int = setting(
        0, "Validations without a better loss after which the run stops early; 0 never does.", min=0
    )
    min_improvement: float = setting(
        0.0, "Part of the best loss by which a better one has to be better.", min=0, max=1
    )
    keep: str = setting(
        "last",
        "Which moving average becomes weights.safetensors: that of the last step or of the best\n"
        "validation loss (also in best.pt).",
        choices=("last", "best"),
    )
    workers: int = setting(
        0, "Processes that read pairs ahead; 0 reads them in the training process.", min=0
    )
    trackers: tuple[str, ...] = setting(
        (),
        "Besides log.jsonl; each needs its package.",
        choices=("tensorboard", "wandb", "mlflow"),
    )
    project: str = setting("photospec", "What trackers call the project.")

    def __post_init__(self):
        validate(self)


@dataclass(frozen=True)
class DataSettings:
    """Which pairs are learnt from, and how."""

    selection: str = setting(
        "all",
        "all: a pair that cannot be used (no light, not finite, masked throughout) is an error;\n"
        "usable: such pairs are left out; positive: so are those whose spectrum is not positive\n"
        "everywhere (published).",
        choices=("all", "usable", "positive"),
    )
    split: str = setting(
        "end",
        "end: the last validation_pairs of the first file are for validation; random (published):\n"
        "test_fraction of all pairs and validation_pairs more are held out at random, by the\n"
        "seed of the split, the latter for validation.",
        choices=("end", "random"),
    )
    test_fraction: float = setting(
        0.1, "random split: part of the pairs kept for tests.", min=0, max=0.9
    )
    split_seed: int = setting(0, "random split: the same seed, the same split.", min=0)
    weights: str = setting(
        "mask",
        "Bins of observed spectra in the loss. mask: bad bins (ivar 0) are interpolated and do\n"
        "not count; ivar: noisy bins count less, too; none: all alike, as they are (published).",
        choices=("mask", "ivar", "none"),
    )
    flips: bool = setting(True, "augment: mirror images.")
    rotations: bool = setting(True, "augment: turn images by quarters (published: false).")
    crop: int = setting(
        0,
        "augment: largest shift of a random crop, pixels, the edge continued (published: 4, of\n"
        "images enlarged to 71 pixels and cropped to 64).",
        min=0,
        max=16,
    )
    each_image: bool = setting(
        False, "augment: every image of a batch in its own way (published), not all alike."
    )

    correct_extinction: bool = setting(
        True,
        "Correct images and spectra for the Milky Way's dust by object/galactic_ebv; published\n"
        "networks learn from uncorrected ones in any case.",
    )
    ebv_relative_error: float = setting(
        0.1,
        "Relative error of the E(B-V) that they are corrected by, as of dust maps.",
        min=0,
        max=1,
    )
    ebv_error: float = setting(0.01, "Its error besides, mag.", min=0, max=1)
    ebv_unknown: float = setting(
        0.1, "Part of the pairs where none is known and the default is assumed.", min=0, max=1
    )
    missing_bands: tuple[float, ...] = setting(
        (),
        "How often each band is taken away, so that the weights can do without it; empty: never.\n"
        "Needs image.masked_bands of the network.",
        min=0,
        max=0.95,
    )

    def __post_init__(self):
        validate(self)


@dataclass(frozen=True)
class FineTuning:
    """Begin with given weights instead of random ones."""

    init: str = setting(
        "", "Folder of a spectrograph, or of a finished run of this stage; empty: random weights."
    )
    frozen: tuple[str, ...] = setting(
        (),
        "Parts that stay as they are. Diffusion stages: encoder, embedding, transformer, head,\n"
        "density; contrastive: image_encoder, spectrum_encoder, image_head, spectrum_head.\n"
        "Other architectures have others; an unknown one is an error that lists them.",
    )
    other_survey: bool = setting(
        False,
        "They are of another survey: what belongs to bands of the same names is kept, the\n"
        "scalings are fitted to the pairs.",
    )
    keep_scaling: bool = setting(
        True, "Keep the scalings of images and spectra, too; else they are fitted to the pairs."
    )

    def __post_init__(self):
        validate(self)
        require(
            self.init or not self.frozen,
            "frozen",
            "no frozen parts without weights to begin with (init)",
            ", ".join(self.frozen),
        )
        require(len(set(self.frozen)) == len(self.frozen), "frozen", "every part once", self.frozen)
        require(
            self.init or not self.other_survey,
            "other_survey",
            "false without weights to begin with (init)",
            self.other_survey,
        )


# Parts of the networks, and how the names of their tensors begin.
_DIFFUSION_PARTS = {
    "encoder": ("encoder.",),
    "density": ("density.",),
    "embedding": (
        "network.embed.",
        "network.position",
        "network.level.",
        "network.augmentation.",
        "network.rest.",
        "network.modulation.",
    ),
    "transformer": ("network.blocks.", "network.norm."),
    "head": ("network.head.",),
}
_CONTRASTIVE_PARTS = {
    name: (f"{name}.",)
    for name in ("image_encoder", "spectrum_encoder", "image_head", "spectrum_head")
}


@dataclass(frozen=True)
class TrainConfig:
    """One training run of one stage.

    `preset`, `read`, `fine_tune` and `from_published` make one; `change` makes another of it. A
    TOML file of it has a comment for each setting.

    Examples
    --------
    >>> from photospec.training import TrainConfig
    >>> config = TrainConfig.preset("tiny", "base")
    >>> config.stage, config.max_steps, config.optimisation.learning_rate
    ('base', 60, 0.002)
    >>> config.change(max_steps=500).max_steps
    500
    """

    stage: str = setting("base", "What to train.", choices=STAGES)
    architecture: str = setting(
        "transformer",
        "transformer: the networks of [diffusion] and [contrastive]; plugins add others, each\n"
        "with a table of its name.",
    )
    seed: int = setting(0, "Same seed, same weights (on the same device).", min=0, max=2**40)
    max_steps: int = setting(4000, "Optimiser steps.", min=1)
    max_epochs: int = setting(
        0,
        "Passes over the training pairs, instead of max_steps, which then follows; 0: max_steps\n"
        "counts (published: 500 contrastive, 1000 otherwise).",
        min=0,
    )
    batch_size: int = setting(
        32, "Galaxies per step (published: 2048 contrastive, 512 otherwise).", min=1
    )
    n_draws: int = setting(
        4, "Noise levels per galaxy and step, diffusion stages (published: 1).", min=1
    )
    target: str = setting(
        "truth",
        "truth: noiseless simulated spectra; observed: as measured (published).",
        choices=("truth", "observed"),
    )
    augment: bool = setting(True, "Change the images at random, in the ways of [data].")
    validation_pairs: int = setting(
        512, "Pairs kept for validation (published: 512); [data] says which.", min=1
    )
    validate_every: int = setting(500, "Steps between validations.", min=1)
    checkpoint_every: int = setting(200, "Steps between checkpoints.", min=1)
    line_weight: float = setting(
        1.0,
        "Weight of the diagnostic emission lines' bins in the denoising loss, other bins having\n"
        "one; needs redshifts (published: 1).",
        min=1,
    )
    temperature: float = setting(0.05, "Of the contrastive loss (published: 0.05).")
    mixed_precision: bool = setting(
        True, "Run the networks in bfloat16, all else in float32 (published: false)."
    )
    compile: bool = setting(
        False, "Compile the networks (torch.compile): minutes at first, then faster on a GPU."
    )
    optimisation: Optimisation = field(default_factory=Optimisation)
    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    diffusion: StageSize = BASE
    contrastive: ContrastiveSize = CONTRASTIVE

    #: Whether the networks crop images themselves, so that augmentation must not.
    network_crops: ClassVar[bool] = False
    #: Whether images and spectra are corrected for the dust of the Milky Way.
    corrects_extinction: ClassVar[bool] = True

    def __post_init__(self):
        validate(self)
        require(self.temperature > 0, "temperature", "a positive number", self.temperature)
        kind = CONFIGS.get(self.architecture)
        require(
            type(self) is kind,
            "architecture",
            f"settings of the class {kind.__name__} for {self.architecture!r} "
            "(TrainConfig.preset and .read make them)",
            type(self).__name__,
        )
        self._check_combination()

    def _check_combination(self):
        """Refuse settings that each make sense, but not together, or would do nothing."""
        weights, contrastive = self.data.weights, self.stage == "contrastive"
        require(
            weights != "ivar" or self.target == "observed",
            "data.weights",
            "mask or none with target truth, whose spectra have no noise",
            weights,
        )
        require(
            weights != "ivar" or not contrastive,
            "data.weights",
            "mask or none for the contrastive network, whose loss has no bins",
            weights,
        )
        if contrastive:
            self._require_no_process("for the contrastive network, which has no diffusion")
        if any(self.data.missing_bands):
            image = getattr(self.size, "image", None)
            require(
                getattr(image, "masked_bands", False),
                "data.missing_bands",
                "none for a network without image.masked_bands",
                self.data.missing_bands,
            )
        parts, frozen = self.parts, self.fine_tuning.frozen
        for name in frozen:
            require(name in parts, "fine_tuning.frozen", f"parts among {', '.join(parts)}", name)
        require(
            set(frozen) < set(parts),
            "fine_tuning.frozen",
            "a part that is left to train",
            ", ".join(frozen),
        )

    def _require_no_process(self, why):
        """Refuse settings of our diffusion process where nothing would heed them."""
        process = self.diffusion.process
        name = "diffusion.process.condition_dropout"
        require(not process.condition_dropout, name, f"0 {why}", process.condition_dropout)
        require(self.line_weight == 1, "line_weight", f"1 {why}", self.line_weight)
        default = Process()
        other = [name for name in vars(default) if getattr(default, name) != getattr(process, name)]
        require(not other, "diffusion.process", f"the defaults {why}", ", ".join(other))

    @property
    def size(self) -> StageSize | ContrastiveSize:
        """Size of the network of this stage."""
        return self.contrastive if self.stage == "contrastive" else self.diffusion

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Parts that the network has: names, and how the names of their tensors begin."""
        return _CONTRASTIVE_PARTS if self.stage == "contrastive" else _DIFFUSION_PARTS

    @property
    def needs_redshift(self) -> bool:
        """Whether every pair has to come with a redshift."""
        uses = self.diffusion.redshift or self.line_weight > 1
        return self.stage != "contrastive" and uses

    @classmethod
    def network_of(cls, weights: WeightsConfig, stage: str) -> dict:
        """Return settings, by name, of the network that a spectrograph has for a stage.

        Parameters
        ----------
        weights : photospec.weights.WeightsConfig
            Of this architecture.
        stage : str
        """
        return {"contrastive" if stage == "contrastive" else "diffusion": weights.size(stage)}

    @classmethod
    def select_class(cls, data: dict) -> tuple[type, dict]:
        """Find the class that settings belong to; see `photospec.config.read_toml`.

        Parameters
        ----------
        data : dict
            Content of a file. Tables of other architectures, which do nothing, are left out.

        Returns
        -------
        type
        dict
        """
        name = data.get("architecture", "transformer")
        kind = CONFIGS.get(name) if name in CONFIGS else cls
        known = {item.name for item in fields(kind)}
        return kind, {k: v for k, v in data.items() if k in known or k not in CONFIGS}

    @classmethod
    def read(cls, path: str | PathLike) -> "TrainConfig":
        """Read settings from a TOML file.

        Parameters
        ----------
        path : path-like
            Such as `photospec.config.write_toml` and ``photospec train --write-config`` write,
            or ``config.toml`` of a run folder.

        Returns
        -------
        TrainConfig
            Of the class that belongs to the file's ``architecture``.

        Raises
        ------
        InputError
            Naming file and line: an unknown key, a value that cannot be used.
        """
        return read_toml(TrainConfig, path)

    @classmethod
    def preset(cls, name: str, stage: str, **changes: object) -> "TrainConfig":
        """Take named settings.

        Parameters
        ----------
        name : str
            ``"small"`` (the shipped weights), ``"tiny"`` (trials), or what plugins add, such as
            ``"published"`` (arXiv:2406.18175).
        stage : {"contrastive", "base", "super-resolution"}
        **changes
            As in `change`.

        Returns
        -------
        TrainConfig

        Raises
        ------
        InputError
            No such preset or stage; changes that cannot be used.

        Examples
        --------
        >>> from photospec.training import TrainConfig
        >>> config = TrainConfig.preset("small", "base", seed=3, max_steps=500)
        >>> config.seed, config.max_steps, config.batch_size
        (3, 500, 32)
        """
        make = PRESETS.get(name)
        require(stage in STAGES, "stage", " or ".join(STAGES), stage)
        return make(stage).change(**changes)

    @classmethod
    def from_published(cls, path: str | PathLike, stage: str, **changes: object) -> "TrainConfig":
        """Read the settings file of another code, by default of the published one.

        Parameters
        ----------
        path : path-like
            ``params_generative.yml`` or ``params_contrastive.yml``.
        stage : {"contrastive", "base", "super-resolution"}
        **changes
            As in `change`.

        Returns
        -------
        TrainConfig

        Raises
        ------
        InputError
            Not such a file, or of another stage; a key that is not known, or whose value we
            cannot do; no plugin that reads such files.
        """
        return SETTINGS_READERS.get("published")(path, stage).config.change(**changes)

    @classmethod
    def fine_tune(
        cls,
        weights: str | PathLike,
        stage: str,
        *,
        frozen: Sequence[str] = (),
        preset: "str | TrainConfig" = "small",
        **changes: object,
    ) -> "TrainConfig":
        """Begin with finished weights, and so with the network that these belong to.

        Parameters
        ----------
        weights : path-like
            Folder of a spectrograph, or of a finished run of the stage.
        stage : {"contrastive", "base", "super-resolution"}
        frozen : sequence of str
            Parts of the network that stay as they are, such as ``"encoder"``; `parts` has all.
        preset : str or TrainConfig
            Everything but the network: settings, or the name of a preset.
        **changes
            As in `change`.

        Returns
        -------
        TrainConfig

        Raises
        ------
        InputError
            No weights of this stage there; unknown parts.

        Examples
        --------
        >>> from photospec.training import TrainConfig
        >>> config = TrainConfig.fine_tune("run/spectrograph", "base", frozen=["encoder"],
        ...                                target="observed")  # doctest: +SKIP
        """
        config = cls.preset(preset, stage) if isinstance(preset, str) else preset
        found = describe_weights(weights, stage)
        kind = CONFIGS.get(found.architecture)
        if isinstance(found, TrainConfig):
            changed = {"contrastive", "diffusion", found.architecture}
            network = {f.name: getattr(found, f.name) for f in fields(found) if f.name in changed}
        else:
            network = kind.network_of(found, stage)
        network["architecture"] = found.architecture
        network["fine_tuning"] = replace(
            config.fine_tuning, init=str(weights), frozen=tuple(frozen)
        )
        values = {f.name: getattr(config, f.name) for f in fields(kind) if hasattr(config, f.name)}
        return kind(**values | network).change(**changes)

    def change(self, **changes: object) -> Self:
        """Make settings with others instead.

        Parameters
        ----------
        **changes
            By name; None leaves one as it is. ``max_steps`` replaces ``max_epochs``.

        Returns
        -------
        TrainConfig

        Raises
        ------
        InputError
            A value that cannot be used, or no such setting.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        for name in changes:
            require(name in vars(self), name, f"one of {', '.join(vars(self))}", changes[name])
        if "max_steps" in changes:
            changes.setdefault("max_epochs", 0)
        return replace(self, **changes)


CONFIGS.register("transformer", TrainConfig)


def describe_weights(folder, stage):
    """Read what a folder of weights says of itself.

    Parameters
    ----------
    folder : path-like
        A spectrograph, or a finished run of the stage.
    stage : str

    Returns
    -------
    TrainConfig or photospec.weights.WeightsConfig
        Of a run, or of a spectrograph.

    Raises
    ------
    InputError
        Neither of them; a run that is not finished, or of another stage.
    """
    folder = Path(folder)
    path = folder / "config.toml"
    if not path.is_file():
        raise InputError(
            f"init: expected the folder of a spectrograph or of a finished run, got {folder} "
            "without config.toml"
        )
    if not (folder / WEIGHTS).is_file():
        if (folder / "checkpoint.pt").exists():
            raise InputError(
                f"init: expected a finished run, got {folder} without {WEIGHTS}; resume it"
            )
        return read_config(folder)
    found = TrainConfig.read(path)
    if found.stage != stage:
        raise InputError(
            f"init: expected weights of the stage {stage}, got {found.stage}: {folder}"
        )
    return found


_SMALL_STEPS = {"base": 14000, "super-resolution": 16000, "contrastive": 3000}
_TINY_IMAGE = EncoderSize(width=64, depth=1, n_heads=2)
_TINY_NETWORK = TransformerSize(width=64, depth=2, n_heads=2)


def _small(stage):
    """Return the shipped weights' settings: hours on two CPU cores."""
    config = TrainConfig(stage=stage, max_steps=_SMALL_STEPS[stage])
    if stage == "super-resolution":
        return replace(config, diffusion=SUPER_RESOLUTION, n_draws=2)
    if stage == "contrastive":
        return replace(config, batch_size=256, n_draws=1)
    # Lines fill few bins, but are much of what is measured (`photospec.training.line_weights`).
    return replace(config, line_weight=8.0)


def _tiny(stage):
    """Return settings for tests and trials: under a minute on two CPU cores with 500 pairs."""
    network = _TINY_NETWORK
    if stage == "super-resolution":
        network = replace(network, patch_size=60, halo=16)
    return TrainConfig(
        stage=stage,
        max_steps=60,
        batch_size=32,
        n_draws=2,
        validation_pairs=64,
        validate_every=30,
        checkpoint_every=20,
        optimisation=Optimisation(learning_rate=2e-3, warmup_steps=10, ema_decay=0.9),
        diffusion=StageSize(_TINY_IMAGE, network),
        contrastive=ContrastiveSize(
            32, _TINY_IMAGE, replace(_TINY_NETWORK, patch_size=60, halo=10)
        ),
    )


register_preset("small", _small)
register_preset("tiny", _tiny)
