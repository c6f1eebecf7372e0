"""The training loop: an Ignite engine over the steps of one stage.

Randomness belongs to the step, not to the process: batch, augmentation and noise of
step k come from (seed, k). So a run that was killed and resumed, with weights, moving
average and optimiser from its last checkpoint, ends with the same bits.
"""

import contextlib
import math
from dataclasses import replace
from pathlib import Path

from ignite.engine import Engine

from photospec.errors import PhotospecError
from photospec.training.data import PairsStream, batches
from photospec.training.distributed import (
    TERMINATED,
    any_process,
    run_on_rank_zero,
    termination,
    world_size,
)
from photospec.training.handlers import (
    attach_handlers,
    check_trackers,
    is_finished,
    make_handlers,
    quiet,
)
from photospec.training.run_folder import (
    BEST,
    CHECKPOINT,
    LOG,
    Log,
    load_checkpoint,
    save_checkpoint,
    start_folder,
)
from photospec.training.trainer import Trainer, step_seed

__all__ = ["TrainingFailed", "run"]


class TrainingFailed(PhotospecError):
    """The loss stopped being a number."""


def run(config, pairs, output, *, resume=False, device="cpu", progress=False):
    """Train one stage; returns the moving average of its network.

    The processes of a group (`photospec.training.distributed.process_group`) train one network
    together; only rank 0 writes files.

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
    checkpoint = output / CHECKPOINT
    check_trackers(config)
    together = replace(config, batch_size=config.batch_size * world_size())
    with termination() as received, contextlib.closing(PairsStream(pairs, together)) as stream:
        if config.max_epochs:
            config = replace(config, max_steps=config.max_epochs * stream.steps_per_epoch)
        trainer = Trainer(config, stream, device)
        trainer.received = received
        engine = quiet(Engine(trainer.update))
        handlers = make_handlers(engine, trainer, output)
        if resume and run_on_rank_zero(checkpoint.exists):
            trainer.load_state_dict(load_checkpoint(checkpoint))
        run_on_rank_zero(start_folder, output, config, stream, device)
        log = _shared_log(output, trainer.step)
        if not (is_finished(trainer) or any_process(received)):
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
            run_on_rank_zero(save_checkpoint, checkpoint, trainer.state_dict())
            raise SystemExit(TERMINATED)
        if config.run.keep == "best":
            trainer.ema.network.load_state_dict(load_checkpoint(output / BEST)["network"])
    return trainer.ema.network


def _shared_log(output, step):
    """Open a `Log` on rank 0; where it cannot be written, all processes end."""
    logs = []
    run_on_rank_zero(lambda: logs.append(Log(output / LOG, after=step)))
    return lambda step, **entry: run_on_rank_zero(lambda: logs[0](step, **entry))


def _check_loss(loss, trainer, log):
    if math.isfinite(loss):
        return
    config, step = trainer.config, trainer.step
    log(step, failed=str(loss), seed=config.seed, step_seed=step_seed(step, config))
    raise TrainingFailed(
        f"loss: expected a number, got {loss} at step {step} (seed {config.seed}); the last good "
        "checkpoint is kept; lower the learning rate?"
    )
