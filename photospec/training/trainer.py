"""One stage in training: its network, moving average and optimiser."""

import copy
import math

import torch

from photospec.errors import InputError

from .stages import make_training

__all__ = ["Trainer", "ema_decay", "learning_rate"]


def learning_rate(step, config):
    """Trapezoid: linear warm-up, plateau, linear decay to zero at ``max_steps``."""
    optimisation = config.optimisation
    rise = (step + 1) / max(1, optimisation.warmup_steps)
    left = (config.max_steps - step) / max(1, round(optimisation.decay_fraction * config.max_steps))
    return optimisation.learning_rate * min(1.0, rise, left)


def ema_decay(step, config):
    """The moving average forgets faster early on, when the weights still race."""
    return min(config.optimisation.ema_decay, (1 + step) / (10 + step))


class Trainer:
    """One stage in training: everything that a checkpoint has to hold.

    Parameters
    ----------
    config : TrainConfig
    stream : PairsStream
    device : str
    """

    def __init__(self, config, stream, device):
        self.config = config
        self.stream = stream
        self.device = torch.device(device)
        self.training = make_training(config, stream).to(self.device)
        self.ema = copy.deepcopy(self.training).requires_grad_(False).eval()
        self.parameters = list(self.training.parameters())
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=config.optimisation.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.optimisation.weight_decay,
        )
        self.step = 0

    def update(self, engine, step):
        """One optimiser step; the number returned is the loss.

        Where the loss or its gradient is no number nothing is changed and NaN returned.
        """
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        batch = self.stream.batch(step).to(self.device)
        self.training.train()
        loss = self.training.loss(batch, generator)
        if not torch.isfinite(loss):
            return loss.item()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clip = config.optimisation.gradient_clip or math.inf
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self.parameters, clip)):
            return math.nan
        self.optimiser.step()
        decay = ema_decay(step, config)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), self.parameters, 1 - decay)
        self.step = step + 1
        return loss.item()

    def validate(self, limit=None):
        """Numbers that the moving average reaches on (at most `limit`) held-out pairs."""
        batches = [part.to(self.device) for part in self.stream.validation(limit).split(64)]
        with torch.no_grad():
            return self.ema.validate(batches)

    def state(self):
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "pairs": self.stream.signature,
            "training": self.training.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state):
        """Go back to a checkpoint.

        Raises
        ------
        InputError
            It is of another network, of other pairs, or beyond the last step.
        """
        try:
            step, pairs = state["step"], state.get("pairs", self.stream.signature)
            self.training.load_state_dict(state["training"])
            self.ema.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            raise InputError(
                "resume: expected a checkpoint of the configured network, got another one; "
                "does the run folder belong to another configuration?"
            ) from None
        if pairs != self.stream.signature:
            raise InputError(
                "resume: expected the pairs that the run began with, got others; "
                "use a new run folder"
            )
        if step > self.config.max_steps:
            raise InputError(
                f"max_steps: expected at least the {step} steps of the checkpoint, got "
                f"{self.config.max_steps}"
            )
        self.step = step
