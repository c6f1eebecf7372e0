"""Settings of the optimiser, its learning rate and the moving average."""

from dataclasses import dataclass

from photospec.training.settings_common import explained, require

__all__ = ["OPTIMISERS", "SCHEDULES", "Optimisation"]

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
