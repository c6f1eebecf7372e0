"""The training loop: an Ignite engine over the steps of one stage.

Randomness belongs to the step, not to the process: batch, augmentation and noise of
step k come from (seed, k). So a run that was killed and resumed, with weights, moving
average and optimiser from its last checkpoint, ends with the same bits.
"""

import copy
import json
import math
import signal
import time
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import TerminateOnNan
from tqdm import tqdm

from photospec.errors import InputError, PhotospecError

from .checkpoint import load_checkpoint, save_checkpoint
from .data import PairsStream
from .stages import make_training

__all__ = ["TrainingFailed", "run"]


class TrainingFailed(PhotospecError):
    """The loss stopped being a number."""


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
    """One stage in training: everything that a checkpoint has to hold."""

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
        """One optimiser step; the number returned is the loss."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        image, flux = (x.to(self.device) for x in self.stream.batch(step))
        self.training.train()
        loss = self.training.loss(image, flux, generator)
        if torch.isfinite(loss):
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            clip = config.optimisation.gradient_clip
            if clip:
                torch.nn.utils.clip_grad_norm_(self.parameters, clip)
            self.optimiser.step()
            decay = ema_decay(step, config)
            with torch.no_grad():
                torch._foreach_lerp_(list(self.ema.parameters()), self.parameters, 1 - decay)
            self.step = step + 1
        return loss.item()

    def validate(self, limit=None):
        image, flux = self.stream.validation(limit)
        batches = [
            (i.to(self.device), f.to(self.device))
            for i, f in zip(image.split(64), flux.split(64), strict=True)
        ]
        with torch.no_grad():
            return self.ema.validate(batches)

    def state(self):
        return {
            "step": self.step,
            "training": self.training.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state):
        try:
            self.training.load_state_dict(state["training"])
            self.ema.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]
        except (KeyError, RuntimeError, ValueError):
            raise InputError(
                "resume: expected a checkpoint of the configured network, got another one; "
                "does the run folder belong to another configuration?"
            ) from None


def run(config, pairs, output, *, resume=False, device="cpu", progress=False):
    """Train one stage; returns the moving average of its network.

    Parameters
    ----------
    config : TrainConfig
    pairs : path-like
        Pairs file.
    output : path-like
        Run folder; exists. Gets ``checkpoint.pt`` and ``log.jsonl``.
    resume : bool
        Go on from the folder's checkpoint.
    device : str
    progress : bool
        Show a progress bar.

    Returns
    -------
    torch.nn.Module
    """
    output = Path(output)
    stream = PairsStream(pairs, config)
    trainer = Trainer(config, stream, device)
    checkpoint = output / "checkpoint.pt"
    if resume:
        trainer.load_state(load_checkpoint(checkpoint))
    first = trainer.step
    engine = Engine(trainer.update)
    bar = tqdm(total=config.max_steps, initial=first, disable=not progress, desc=config.stage)
    recent = []
    started = time.monotonic()

    def log(**entry):
        entry |= {"step": trainer.step, "seconds": round(time.monotonic() - started, 1)}
        with open(output / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")

    @engine.on(Events.ITERATION_COMPLETED)
    def _after_step(engine):
        if not math.isfinite(engine.state.output):
            return
        recent.append(engine.state.output)
        bar.update()
        if trainer.step % 50 == 0:
            mean = sum(recent) / len(recent)
            recent.clear()
            bar.set_postfix(loss=f"{mean:.4f}")
            log(train_loss=round(mean, 6))
        if trainer.step % config.validate_every == 0 or trainer.step == config.max_steps:
            log(**{f"validation_{k}": round(v, 6) for k, v in trainer.validate(512).items()})
        if trainer.step % config.checkpoint_every == 0 or trainer.step == config.max_steps:
            save_checkpoint(checkpoint, trainer.state())

    engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())

    def stop(signum, frame):
        engine.terminate()

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        if first < config.max_steps:
            engine.run(range(first, config.max_steps), max_epochs=1)
    finally:
        signal.signal(signal.SIGTERM, previous)
        bar.close()
        stream.close()
    if trainer.step < config.max_steps:
        if not math.isfinite(engine.state.output):
            raise TrainingFailed(
                f"loss: expected a number, got {engine.state.output} at step {trainer.step} "
                f"(seed {config.seed}); the last good checkpoint is kept; lower the learning rate?"
            )
        save_checkpoint(checkpoint, trainer.state())
        raise SystemExit(143)
    return trainer.ema.network
