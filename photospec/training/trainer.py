"""One stage in training: its network, moving average and optimiser."""

import math

import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler

from photospec.errors import InputError
from photospec.training.distributed import (
    average_gradients,
    broadcast_state,
    draw_local_rows,
    world_size,
)
from photospec.training.optimisers import ema_decay, learning_rate, make_optimiser
from photospec.training.stages import make_training

__all__ = ["Trainer", "step_seed"]


def step_seed(step, config):
    """Return the seed of the noise of a step."""
    return config.seed * 1_000_003 + step


class Trainer:
    """One stage in training: everything that a checkpoint has to hold.

    Parameters
    ----------
    config : TrainConfig
    stream : PairsStream
    device : str

    Attributes
    ----------
    step : int
        Steps taken.
    stop : bool
        Whether any process was asked to stop, as of the last step.
    """

    def __init__(self, config, stream, device):
        self.config = config
        self.stream = stream
        self.device = torch.device(device)
        self.training = make_training(config, stream).to(self.device)
        broadcast_state(self.training)
        # Its momentum is set step by step, see `attach`.
        self._average = EMAHandler(self.training, momentum=0.5)
        self.ema = self._average.ema_model.requires_grad_(False)
        self.parameters = [p for p in self.training.parameters() if p.requires_grad]
        self.optimiser = make_optimiser(self.parameters, config)
        self.step = 0
        self.stop = False
        #: Signals that asked this process to stop, as they come.
        self.received = ()
        #: Objects with ``state_dict`` and ``load_state_dict`` that go into the checkpoint too.
        self.others = {}

    def attach(self, engine):
        """Keep the moving average after each step of an engine that runs `update`."""

        @engine.on(Events.ITERATION_COMPLETED)
        def _forget(engine):
            engine.state.ema_momentum = 1 - ema_decay(self.step - 1, self.config)

        self._average.attach(engine, warn_if_exists=False)

    def update(self, engine, item):
        """Take one optimiser step; return the loss.

        Where the loss or its gradient is no number nothing is changed and NaN returned.

        Parameters
        ----------
        engine : ignite.engine.Engine
        item : (int, PairsBatch)
            Number of the step and its pairs, those of this process.
        """
        step, batch = item
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        generator = torch.Generator().manual_seed(step_seed(step, config))
        self.training.train()
        with draw_local_rows(generator):
            loss = self.training.loss(batch.to(self.device), generator)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        loss, stop = average_gradients(self.parameters, loss.item(), float(bool(self.received)))
        self.stop = stop > 0
        if not math.isfinite(loss):
            return loss
        clip = config.optimisation.gradient_clip or math.inf
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self.parameters, clip)):
            return math.nan
        self.optimiser.step()
        self.step = step + 1
        return loss

    def validate(self, limit=None):
        """Return numbers that the moving average reaches on (at most `limit`) held-out pairs."""
        batches = [part.to(self.device) for part in self.stream.validation(limit).split(64)]
        with torch.no_grad():
            return self.ema.validate(batches)

    def state_dict(self):
        """Return what a checkpoint holds."""
        return {
            "step": self.step,
            "pairs": self.stream.signature,
            "processes": world_size(),
            "training": self.training.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            **{name: dict(other.state_dict()) for name, other in self.others.items()},
        }

    def load_state_dict(self, state):
        """Go back to a checkpoint.

        Raises
        ------
        InputError
            It is of another network, of other pairs, of another number of processes, or beyond
            the last step.
        """
        try:
            step, pairs = state["step"], state.get("pairs", self.stream.signature)
            self.training.load_state_dict(state["training"])
            self.ema.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["optimiser"])
            for name in self.others.keys() & state.keys():  # none in older checkpoints
                self.others[name].load_state_dict(state[name])
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
        if state.get("processes", world_size()) != world_size():
            raise InputError(
                f"processes: expected {state['processes']}, with which the run began, got "
                f"{world_size()}; its batches would be others"
            )
        if step > self.config.max_steps:
            raise InputError(
                f"max_steps: expected at least the {step} steps of the checkpoint, got "
                f"{self.config.max_steps}"
            )
        self.step = step
