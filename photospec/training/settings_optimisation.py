"""Settings of the optimiser, its learning rate and the moving average."""

from dataclasses import dataclass

from .settings_common import explained, require

__all__ = ["Optimisation"]


@dataclass(frozen=True)
class Optimisation:
    """Optimiser and its schedule (AdamW; warm-up, plateau, linear decay to zero)."""

    learning_rate: float = explained(7e-4, "On the plateau.")
    warmup_steps: int = explained(200, "Steps of linear increase from zero.", min=0)
    decay_fraction: float = explained(
        0.3, "Last part of all steps, over which it falls to zero.", min=0, max=1
    )
    weight_decay: float = explained(0.01, "Decoupled weight decay.", min=0)
    gradient_clip: float = explained(1.0, "Largest norm of the gradient; 0 does not clip.", min=0)
    ema_decay: float = explained(0.998, "Decay per step of the moving average of the weights.")

    def __post_init__(self):
        require(self.learning_rate > 0, "learning_rate", "a positive number", self.learning_rate)
        require(0 <= self.ema_decay < 1, "ema_decay", "0 to 1, 1 excluded", self.ema_decay)
