"""The training loop: an Ignite engine over the steps of one stage.

Randomness belongs to the step, not to the process: batch, augmentation and noise of
step k come from (seed, k). So a run that was killed and resumed, with weights, moving
average and optimiser from its last checkpoint, ends with the same bits.
"""

import contextlib
import math
import signal
import threading
from dataclasses import replace
from pathlib import Path

from ignite.engine import Engine

from photospec.config import write_toml
from photospec.errors import InputError, PhotospecError
from photospec.training.checkpoint import load_checkpoint, save_checkpoint
from photospec.training.data import PairsStream
from photospec.training.distributed import agree, on_first, world_size
from photospec.training.handlers import attach_handlers, is_finished, make_handlers, quiet
from photospec.training.log import Log
from photospec.training.provenance import write_provenance
from photospec.training.reading import batches
from photospec.training.trackers import check_trackers
from photospec.training.trainer import Trainer, step_seed

__all__ = ["TrainingFailed", "run", "termination"]

#: Exit status of a run that was asked to stop, as the shell reports SIGTERM.
TERMINATED = 143


class TrainingFailed(PhotospecError):
    """The loss stopped being a number."""


@contextlib.contextmanager
def termination():
    """Collect SIGTERM instead of dying from it; only the main thread may.

    Yields
    ------
    list
        Of signals, as they come.
    """
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

    Several processes that call this together (`photospec.training.distributed.joined`) train
    one network; only the first of them writes files.

    Parameters
    ----------
    config : TrainConfig
    pairs : path-like or sequence of path-like
        Pairs files.
    output : path-like
        Run folder, made if need be. Gets ``config.toml``, ``provenance.json``,
        ``checkpoint.pt``, ``best.pt`` and ``log.jsonl``, and where the settings ask for them
        ``pictures`` and what trackers write.
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
        Unusable pairs or checkpoint; a folder that cannot be written; a tracker that is not
        installed.
    TrainingFailed
        The loss or its gradient is no number; the last good checkpoint is kept.
    SystemExit
        With status 143 after SIGTERM, once a checkpoint is written.
    """
    output = Path(output)
    checkpoint = output / "checkpoint.pt"
    check_trackers(config)
    together = replace(config, batch_size=config.batch_size * world_size())
    with termination() as received, contextlib.closing(PairsStream(pairs, together)) as stream:
        if config.max_epochs:
            config = replace(config, max_steps=config.max_epochs * stream.steps_per_epoch)
        trainer = Trainer(config, stream, device)
        trainer.received = received
        engine = quiet(Engine(trainer.update))
        handlers = make_handlers(engine, trainer, output)
        if resume and on_first(checkpoint.exists):
            trainer.load_state_dict(load_checkpoint(checkpoint))
        on_first(_prepare, output, config, stream, device)
        log = _log_of_first(output, trainer.step)
        if not (is_finished(trainer) or agree(received)):
            close = attach_handlers(
                engine, trainer, output, log, handlers=handlers, progress=progress
            )
            steps = range(trainer.step, config.max_steps)
            try:
                with contextlib.closing(batches(stream, steps)) as found:
                    engine.run(found, max_epochs=1, epoch_length=len(steps))
            finally:
                close()
            _check_loss(engine.state.output, trainer, log)
        if not is_finished(trainer):
            on_first(save_checkpoint, checkpoint, trainer.state_dict())
            raise SystemExit(TERMINATED)
        if config.run.keep == "best":
            trainer.ema.network.load_state_dict(load_checkpoint(output / "best.pt")["network"])
    return trainer.ema.network


def _prepare(output, config, stream, device):
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_toml(config, output / "config.toml")
    except OSError as error:
        raise InputError(f"output: expected a writable folder, got {output} ({error})") from None
    write_provenance(output, config, stream, device)


def _log_of_first(output, step):
    """A `Log` of which all processes know whether it could be written."""
    logs = []
    on_first(lambda: logs.append(Log(output / "log.jsonl", after=step)))
    return lambda step, **entry: on_first(lambda: logs[0](step, **entry))


def _check_loss(loss, trainer, log):
    if math.isfinite(loss):
        return
    config, step = trainer.config, trainer.step
    log(step, failed=str(loss), seed=config.seed, step_seed=step_seed(step, config))
    raise TrainingFailed(
        f"loss: expected a number, got {loss} at step {step} (seed {config.seed}); the last good "
        "checkpoint is kept; lower the learning rate?"
    )
