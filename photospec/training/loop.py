"""The training loop: an Ignite engine over the steps of one stage.

Randomness belongs to the step, not to the process: batch, augmentation and noise of
step k come from (seed, k). So a run that was killed and resumed, with weights, moving
average and optimiser from its last checkpoint, ends with the same bits.
"""

import contextlib
import logging
import math
import signal
import threading
from pathlib import Path

from ignite.engine import Engine, Events
from ignite.handlers import TerminateOnNan
from tqdm import tqdm

from photospec.config import write_toml
from photospec.errors import InputError, PhotospecError

from .checkpoint import load_checkpoint, save_checkpoint
from .data import PairsStream
from .log import Log
from .trainer import Trainer

__all__ = ["TrainingFailed", "run"]

#: Exit status of a run that was asked to stop, as the shell reports SIGTERM.
TERMINATED = 143
_LOG_EVERY = 50
_VALIDATION_LIMIT = 512


class TrainingFailed(PhotospecError):
    """The loss stopped being a number."""


@contextlib.contextmanager
def _termination():
    """Collect SIGTERM instead of dying from it; only the main thread may."""
    received = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def run(config, pairs, output, *, resume=False, device="cpu", progress=False):
    """Train one stage; returns the moving average of its network.

    Parameters
    ----------
    config : TrainConfig
    pairs : path-like or sequence of path-like
        Pairs files.
    output : path-like
        Run folder, made if need be. Gets ``config.toml``, ``checkpoint.pt`` and ``log.jsonl``.
    resume : bool
        Go on from the folder's checkpoint, if there is one yet.
    device : str
    progress : bool
        Show a progress bar.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    InputError
        Unusable pairs or checkpoint; a folder that cannot be written.
    TrainingFailed
        The loss or its gradient is no number; the last good checkpoint is kept.
    SystemExit
        With status 143 after SIGTERM, once a checkpoint is written.
    """
    output = Path(output)
    checkpoint = output / "checkpoint.pt"
    with _termination() as received, contextlib.closing(PairsStream(pairs, config)) as stream:
        trainer = Trainer(config, stream, device)
        if resume and checkpoint.exists():
            trainer.load_state(load_checkpoint(checkpoint))
        try:
            output.mkdir(parents=True, exist_ok=True)
            write_toml(config, output / "config.toml")
            log = Log(output / "log.jsonl", after=trainer.step)
        except OSError as error:
            raise InputError(
                f"output: expected a writable folder, got {output} ({error})"
            ) from None
        if trainer.step < config.max_steps and not received:
            _iterate(trainer, checkpoint, log, received, progress)
        if trainer.step < config.max_steps:
            save_checkpoint(checkpoint, trainer.state())
            raise SystemExit(TERMINATED)
    return trainer.ema.network


def _iterate(trainer, checkpoint, log, received, progress):
    """Steps until the last one, a signal, or a loss that is no number."""
    config = trainer.config
    engine = Engine(trainer.update)
    recent = []
    bar = tqdm(
        total=config.max_steps, initial=trainer.step, disable=not progress, desc=config.stage
    )

    def due(interval):
        return trainer.step % interval == 0 or trainer.step == config.max_steps

    @engine.on(Events.ITERATION_COMPLETED)
    def _after_step(engine):
        if not math.isfinite(engine.state.output):
            return  # TerminateOnNan ends the run
        recent.append(engine.state.output)
        bar.update()
        if trainer.step % _LOG_EVERY == 0:
            mean = sum(recent) / len(recent)
            recent.clear()
            bar.set_postfix(loss=f"{mean:.4f}")
            log(trainer.step, train_loss=round(mean, 6))
        if due(config.validate_every):
            found = trainer.validate(_VALIDATION_LIMIT)
            log(trainer.step, **{f"validation_{k}": round(v, 6) for k, v in found.items()})
        if due(config.checkpoint_every):
            save_checkpoint(checkpoint, trainer.state())
        if received:
            engine.terminate()

    terminate_on_nan = TerminateOnNan()
    terminate_on_nan.logger.setLevel(logging.ERROR)  # `TrainingFailed` says it
    engine.add_event_handler(Events.ITERATION_COMPLETED, terminate_on_nan)
    with contextlib.closing(bar):
        engine.run(range(trainer.step, config.max_steps), max_epochs=1)
    if not math.isfinite(engine.state.output):
        log(trainer.step, failed=str(engine.state.output), seed=config.seed)
        raise TrainingFailed(
            f"loss: expected a number, got {engine.state.output} at step {trainer.step} "
            f"(seed {config.seed}); the last good checkpoint is kept; lower the learning rate?"
        )
