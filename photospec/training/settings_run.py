"""Settings of what goes on around the steps: log, validation, pictures, when to stop."""

from dataclasses import dataclass, field

__all__ = ["TRACKERS", "RunSettings"]

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
