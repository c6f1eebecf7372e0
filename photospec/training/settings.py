"""Settings of a run from a file, a preset or the published code's files, and what changes them."""

from dataclasses import dataclass, field, replace

from photospec.config import read_toml
from photospec.errors import InputError
from photospec.networks.process import Process
from photospec.networks.sizes import (
    BASE,
    CONTRASTIVE,
    DEFAULT_SIZES,
    STAGES,
    SUPER_RESOLUTION,
    ContrastiveSize,
    EncoderSize,
    StageSize,
    TransformerSize,
)
from photospec.published.sizes import PublishedSize

__all__ = [
    "ARCHITECTURES",
    "OPTIMISERS",
    "PARTS",
    "PRESETS",
    "SCHEDULES",
    "SELECTIONS",
    "SPLITS",
    "TRACKERS",
    "WEIGHTS",
    "DataSettings",
    "FineTuning",
    "Optimisation",
    "RunSettings",
    "TrainConfig",
    "check_together",
    "explained",
    "parts_of",
    "preset",
    "require",
    "settings_for",
]


def explained(default, text, **limits):
    """A field whose help and limits (`photospec.config`) become the comment in the file."""
    return field(default=default, metadata={"help": text, **limits})


def require(condition, name, expected, got):
    """Raise the one-line error that names a setting, unless `condition` holds."""
    if not condition:
        raise InputError(f"{name}: expected {expected}, got {got!r}")


SELECTIONS = ("all", "usable", "positive")
SPLITS = ("end", "random")
WEIGHTS = ("mask", "ivar", "none")


@dataclass(frozen=True)
class DataSettings:
    """Which pairs are learnt from, and how."""

    selection: str = explained(
        "all",
        "all: a pair that cannot be used (no light, not finite, masked throughout) is an error;\n"
        "usable: such pairs are left out; positive: so are those whose spectrum is not positive\n"
        "everywhere (published).",
        choices=SELECTIONS,
    )
    split: str = explained(
        "end",
        "end: the last validation_pairs of the first file are for validation; random (published):\n"
        "test_fraction of all pairs and validation_pairs more are held out at random, by the\n"
        "seed of the split, the latter for validation.",
        choices=SPLITS,
    )
    test_fraction: float = explained(
        0.1, "random split: part of the pairs kept for tests.", min=0, max=0.9
    )
    split_seed: int = explained(0, "random split: the same seed, the same split.", min=0)
    weights: str = explained(
        "mask",
        "Bins of observed spectra in the loss. mask: bad bins (ivar 0) are bridged and do not\n"
        "count; ivar: noisy bins count less, too; none: all alike, as they are (published).",
        choices=WEIGHTS,
    )
    flips: bool = explained(True, "augment: mirror images.")
    rotations: bool = explained(True, "augment: turn images by quarters (published: false).")
    crop: int = explained(
        0,
        "augment: largest shift of a random crop, pixels, the edge continued; published networks\n"
        "crop to 64 from images enlarged to 71 pixels, where 4 is the published value.",
        min=0,
        max=16,
    )
    each_image: bool = explained(
        False, "augment: every image of a batch in its own way (published), not all alike."
    )

    def __post_init__(self):
        for name, known in (("selection", SELECTIONS), ("split", SPLITS), ("weights", WEIGHTS)):
            require(getattr(self, name) in known, name, ", ".join(known), getattr(self, name))


# Parts of the networks by architecture and kind: the beginnings of their tensors' names.
_STAGE = {
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
_UNET = {
    "encoder": (
        "denoiser.unet.condition_encoder.",
        "denoiser.unet.first_layer_image_enc.",
    ),
    "time": ("denoiser.unet.first_layer_t.",),
    "down": ("denoiser.unet.down_blocks.",),
    "bottom": ("denoiser.unet.bottom_block.",),
    "up": ("denoiser.unet.up_blocks.", "denoiser.unet.conv_cls."),
}
#: Names of parts by architecture and by whether the stage is contrastive.
PARTS = {
    ("transformer", False): _STAGE,
    ("transformer", True): {
        "image_encoder": ("image_encoder.",),
        "spectrum_encoder": ("spectrum_encoder.",),
        "image_head": ("image_head.",),
        "spectrum_head": ("spectrum_head.",),
    },
    ("published", False): _UNET,
    ("published", True): {
        "image_encoder": ("contrastive.image_model.",),
        "spectrum_encoder": ("contrastive.spectrum_model.",),
    },
}


def parts_of(config):
    """Parts that the network of a `TrainConfig` has: names, and how their tensors' begin."""
    return PARTS[config.architecture, config.stage == "contrastive"]


@dataclass(frozen=True)
class FineTuning:
    """Begin with given weights instead of random ones."""

    init: str = explained(
        "", "Folder of a spectrograph, or of a finished run of this stage; empty: random weights."
    )
    frozen: tuple[str, ...] = explained(
        (),
        "Parts that stay as they are. Diffusion stages: encoder, embedding, transformer, head,\n"
        "density; contrastive: image_encoder, spectrum_encoder, image_head, spectrum_head;\n"
        "published networks: encoder, time, down, bottom, up.",
    )
    keep_scaling: bool = explained(
        True, "Keep the scalings of images and spectra, too; else they are fitted to the pairs."
    )

    def __post_init__(self):
        require(
            self.init or not self.frozen,
            "frozen",
            "no frozen parts without weights to begin with (init)",
            ", ".join(self.frozen),
        )
        require(len(set(self.frozen)) == len(self.frozen), "frozen", "every part once", self.frozen)


OPTIMISERS = ("adamw", "adam")
SCHEDULES = (
    "trapezoid",
    "static",
    "linear",
    "polynomial",
    "cosine",
    "exponential",
    "piecewise",
)


@dataclass(frozen=True)
class Optimisation:
    """Optimiser, learning rate and moving average."""

    optimiser: str = explained(
        "adamw",
        "adamw decays the weights themselves; adam adds the decay to the gradient (published).",
        choices=OPTIMISERS,
    )
    betas: tuple[float, float] = explained(
        (0.9, 0.99), "Decay of the moments of the gradient (published: 0.9, 0.999).", min=0
    )
    weight_decay: float = explained(
        0.01, "Weight decay (published: 0.001 contrastive, 0 otherwise).", min=0
    )
    learning_rate: float = explained(7e-4, "The largest (published: 1e-4).")
    schedule: str = explained(
        "trapezoid",
        "How it falls after the warm-up. trapezoid: stays, then falls linearly to zero;\n"
        "linear (published), polynomial, cosine, exponential: to final_learning_rate;\n"
        "piecewise: times step_factor at every milestone; static: never.",
        choices=SCHEDULES,
    )
    warmup_steps: int = explained(200, "Steps of linear increase from zero (published: 0).", min=0)
    decay_fraction: float = explained(
        0.3, "trapezoid: last part of all steps, over which it falls.", min=0, max=1
    )
    final_learning_rate: float = explained(
        0.0, "linear, polynomial, cosine, exponential: the last (published: 1e-6).", min=0
    )
    power: float = explained(1.0, "polynomial: of what is left of the steps.")
    milestones: tuple[float, ...] = explained(
        (), "piecewise: parts of the steps after which it changes.", min=0, max=1
    )
    step_factor: float = explained(0.1, "piecewise: factor at every milestone.")
    n_cycles: int = explained(
        1, "Times that the schedule is run through; more than one restarts it.", min=1
    )
    gradient_clip: float = explained(
        1.0, "Largest norm of the gradient; 0 does not clip (published).", min=0
    )
    ema_decay: float = explained(
        0.998, "Decay per step of the moving average of the weights (published: 0.9999)."
    )
    ema_warmup: bool = explained(
        True, "Let the average forget faster early on, when the weights still race."
    )

    def __post_init__(self):
        require(self.optimiser in OPTIMISERS, "optimiser", " or ".join(OPTIMISERS), self.optimiser)
        require(self.schedule in SCHEDULES, "schedule", ", ".join(SCHEDULES), self.schedule)
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


TRACKERS = ("tensorboard", "wandb", "mlflow")


def _help(default, text, **limits):
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True)
class RunSettings:
    """What goes on around the steps; nothing here changes what a step does."""

    log_every: int = _help(50, "Steps between lines about the training loss.", min=1)
    validation_limit: int = _help(512, "Held-out pairs behind a validation, at most.", min=1)
    score_every: int = _help(
        0,
        "Steps between validations that also draw candidates: energy score and calibration\n"
        "(diffusion stages); 0 never does.",
        min=0,
    )
    score_pairs: int = _help(64, "Held-out pairs that candidates are drawn for.", min=2)
    score_candidates: int = _help(8, "Candidates for each of them.", min=2)
    score_steps: int = _help(12, "Sampling steps of a candidate.", min=1)
    picture_every: int = _help(0, "Steps between pictures of samples; 0 draws none.", min=0)
    pictures: int = _help(4, "Held-out galaxies in a picture.", min=1, max=16)
    patience: int = _help(
        0, "Validations without a better loss after which the run stops early; 0 never does.", min=0
    )
    min_improvement: float = _help(
        0.0, "Part of the best loss by which a better one has to be better.", min=0, max=1
    )
    keep: str = _help(
        "last",
        "Which moving average becomes weights.safetensors: that of the last step or of the best\n"
        "validation loss (also in best.pt).",
        choices=("last", "best"),
    )
    workers: int = _help(
        0, "Processes that read pairs ahead; 0 reads them in the training process.", min=0
    )
    trackers: tuple[str, ...] = _help(
        (), "Besides log.jsonl; each needs its package.", choices=TRACKERS
    )
    project: str = _help("photospec", "What trackers call the project.")


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


ARCHITECTURES = ("transformer", "published")

_COUNTS = (
    "max_steps",
    "batch_size",
    "n_draws",
    "validation_pairs",
    "validate_every",
    "checkpoint_every",
)


@dataclass(frozen=True)
class TrainConfig:
    """One training run of one stage."""

    stage: str = explained("base", "What to train.", choices=STAGES)
    architecture: str = explained(
        "transformer",
        "transformer: the networks of [diffusion] and [contrastive]; published: those of\n"
        "[published], about thirty times slower.",
        choices=ARCHITECTURES,
    )
    seed: int = explained(0, "Same seed, same weights (on the same device).", min=0, max=2**40)
    max_steps: int = explained(4000, "Optimiser steps.", min=1)
    max_epochs: int = explained(
        0,
        "Passes over the training pairs, instead of max_steps, which then follows; 0: max_steps\n"
        "counts (published: 500 contrastive, 1000 otherwise).",
        min=0,
    )
    batch_size: int = explained(
        32, "Galaxies per step (published: 2048 contrastive, 512 otherwise).", min=1
    )
    n_draws: int = explained(
        4, "Noise levels per galaxy and step, diffusion stages (published: 1).", min=1
    )
    target: str = explained(
        "truth",
        "truth: noiseless simulated spectra; observed: as measured (published).",
        choices=("truth", "observed"),
    )
    augment: bool = explained(True, "Change the images at random, in the ways of [data].")
    validation_pairs: int = explained(
        512, "Pairs kept for validation (published: 512); [data] says which.", min=1
    )
    validate_every: int = explained(500, "Steps between validations.", min=1)
    checkpoint_every: int = explained(200, "Steps between checkpoints.", min=1)
    line_weight: float = explained(
        1.0,
        "Weight of the diagnostic emission lines' bins in the denoising loss, other bins having\n"
        "one; needs redshifts (published: 1).",
        min=1,
    )
    temperature: float = explained(0.05, "Of the contrastive loss (published: 0.05).")
    mixed_precision: bool = explained(
        True, "Run the networks in bfloat16, all else in float32 (published: false)."
    )
    compile: bool = explained(
        False, "Compile the networks (torch.compile): minutes at first, then faster on a GPU."
    )
    optimisation: Optimisation = field(default_factory=Optimisation)
    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    diffusion: StageSize = BASE
    contrastive: ContrastiveSize = CONTRASTIVE
    published: PublishedSize = field(default_factory=PublishedSize)

    def __post_init__(self):
        require(self.stage in STAGES, "stage", " or ".join(STAGES), self.stage)
        require(self.target in ("truth", "observed"), "target", "truth or observed", self.target)
        require(0 <= self.seed <= 2**40, "seed", "0 to 2**40", self.seed)
        for name in _COUNTS:
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.line_weight >= 1, "line_weight", "at least 1", self.line_weight)
        require(self.temperature > 0, "temperature", "a positive number", self.temperature)
        check_together(self)

    @property
    def size(self):
        """Size of the network of this stage."""
        if self.architecture == "published":
            return self.published
        return self.contrastive if self.stage == "contrastive" else self.diffusion


_SMALL_STEPS = {"base": 14000, "super-resolution": 16000, "contrastive": 3000}
_TINY_IMAGE = EncoderSize(width=64, depth=1, n_heads=2)
_TINY_NETWORK = TransformerSize(width=64, depth=2, n_heads=2)


def _small(stage):
    """The shipped weights' settings: hours on two CPU cores."""
    config = TrainConfig(stage=stage, max_steps=_SMALL_STEPS[stage])
    if stage == "super-resolution":
        return replace(config, diffusion=SUPER_RESOLUTION, n_draws=2)
    if stage == "contrastive":
        return replace(config, batch_size=256, n_draws=1)
    return replace(config, line_weight=8.0)


def _tiny(stage):
    """For tests and trials: under a minute on two CPU cores with 500 pairs."""
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


def _published(stage):
    """The published training and networks (arXiv:2406.18175), but for the published bugs."""
    contrastive = stage == "contrastive"
    return TrainConfig(
        stage=stage,
        architecture="published",
        max_epochs=500 if contrastive else 1000,
        batch_size=2048 if contrastive else 512,
        n_draws=1,
        target="observed",
        mixed_precision=False,
        optimisation=Optimisation(
            optimiser="adam",
            betas=(0.9, 0.999),
            weight_decay=1e-3 if contrastive else 0.0,
            learning_rate=1e-4,
            schedule="linear",
            warmup_steps=0,
            final_learning_rate=1e-6,
            gradient_clip=0.0,
            ema_decay=0.9999,
            ema_warmup=False,
        ),
        data=DataSettings(
            selection="positive",
            split="random",
            weights="none",
            rotations=False,
            crop=4,
            each_image=True,
        ),
        run=RunSettings(keep="best"),
    )


PRESETS = {"small": _small, "tiny": _tiny, "published": _published}


def preset(name, stage):
    """Settings of a named preset (`PRESETS`) for one stage."""
    require(name in PRESETS, "preset", " or ".join(PRESETS), name)
    require(stage in DEFAULT_SIZES, "stage", " or ".join(STAGES), stage)
    return PRESETS[name](stage)


named = preset


def settings_for(
    stage,
    *,
    config=None,
    preset="small",
    published=None,
    seed=None,
    max_steps=None,
    init=None,
    frozen=(),
):
    """Settings of one stage.

    Parameters
    ----------
    stage : {"contrastive", "base", "super-resolution"}
    config : path-like, optional
        TOML file.
    preset : str
        Used without a file.
    published : path-like, optional
        Settings file of the published code, instead of either.
    seed, max_steps : int, optional
        Instead of the one in the settings.
    init : path-like, optional
        Folder of weights to begin with; unless there is a file, their network is taken.
    frozen : sequence of str
        Parts of it that stay as they are.

    Returns
    -------
    TrainConfig

    Raises
    ------
    InputError
        Settings that cannot be used, or of another stage.
    """
    if config is not None:
        settings = read_toml(TrainConfig, config)
        if settings.stage != stage:
            raise InputError(
                f"config: expected stage {stage!r}, got {settings.stage!r} in {config}"
            )
    elif published is not None:
        from photospec.published.settings import read_published

        settings = read_published(published, stage).config
    else:
        settings = named(preset, stage)
    if init is not None or frozen:
        settings = _begin(settings, init, frozen, from_file=config is not None)
    changes = {} if seed is None else {"seed": seed}
    if max_steps is not None:
        changes |= {"max_steps": max_steps, "max_epochs": 0}
    return replace(settings, **changes)


def _begin(settings, init, frozen, *, from_file):
    if init is None or from_file:
        tuning = settings.fine_tuning
        tuning = replace(
            tuning,
            init=tuning.init if init is None else str(init),
            frozen=tuple(frozen) or tuning.frozen,
        )
        return replace(settings, fine_tuning=tuning)
    from photospec.training.fine_tuning import begin_with

    return begin_with(settings, init, frozen)
