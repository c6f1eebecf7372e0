"""What happens around the steps, as Ignite handlers of the engine that takes them."""

import functools
import logging
import math

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, EarlyStopping, ProgressBar, TerminateOnNan

from photospec.training.checkpoint import save_checkpoint
from photospec.training.distributed import is_first, on_first
from photospec.training.pictures import draw_picture
from photospec.training.trackers import attach_trackers
from photospec.training.validation import scores

__all__ = ["attach_handlers", "is_finished", "make_handlers"]

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def quiet(engine):
    """Let the errors that leave an engine speak for themselves."""
    engine.logger = logging.getLogger(f"{__name__}.engine")
    engine.logger.setLevel(logging.CRITICAL)
    return engine


class _Average:
    """What the best checkpoint holds."""

    def __init__(self, trainer):
        self.trainer = trainer

    def state_dict(self):
        return {"step": self.trainer.step, "network": self.trainer.ema.network.state_dict()}


def _save(folder, state, name, metadata=None):
    on_first(save_checkpoint, folder / name, state)


def _loss(engine):
    loss = engine.state.metrics["loss"]
    return loss if math.isfinite(loss) else math.inf


def make_handlers(engine, trainer, output):
    """Handlers with a memory: they become part of the trainer's state.

    Parameters
    ----------
    engine : ignite.engine.Engine
        Takes the steps.
    trainer : Trainer
    output : pathlib.Path
        Run folder.

    Returns
    -------
    dict
        ``best`` and, where the settings ask for it, ``early_stopping``.
    """
    run = trainer.config.run
    handlers = {
        "best": Checkpoint(
            {"best": _Average(trainer)},
            functools.partial(_save, output),
            score_function=lambda engine: -_loss(engine),
            filename_pattern="best.pt",
        )
    }
    if run.patience:
        handlers["early_stopping"] = EarlyStopping(
            run.patience,
            _loss,
            engine,
            mode="min",
            threshold=run.min_improvement,
            threshold_mode="rel",
            cumulative=True,
        )
        handlers["early_stopping"].logger.setLevel(logging.ERROR)  # the log says it
    trainer.others |= handlers
    return handlers


def is_finished(trainer):
    """Whether all steps are taken, or none helps any more."""
    stopping = trainer.others.get("early_stopping")
    stopped = stopping is not None and stopping.counter >= stopping.patience
    return stopped or trainer.step >= trainer.config.max_steps


class _Measuring:
    """An engine that measures the moving average in the first process; all know the result."""

    def __init__(self, measure, trainer, log):
        self.trainer, self.log = trainer, log
        self.engine = quiet(Engine(lambda engine, item: on_first(measure)))
        self.engine.add_event_handler(Events.COMPLETED, self._keep)

    def _keep(self, engine):
        engine.state.metrics = engine.state.output
        numbers = {f"validation_{k}": round(v, 6) for k, v in engine.state.output.items()}
        self.log(self.trainer.step, **numbers)

    def __call__(self, engine):
        self.engine.run([None])


def attach_handlers(engine, trainer, output, log, *, handlers, progress):
    """Attach everything, in the order in which it has to happen after a step.

    Parameters
    ----------
    engine, trainer, output
        As of `make_handlers`.
    log : callable
        ``log(step, **entry)``.
    handlers : dict
        From `make_handlers`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    callable
        To be called, without arguments, when the engine has ended, however it did.
    """
    config, run = trainer.config, trainer.config.run

    def every(interval, *, also_last=True):
        def due(engine, _):
            step = trainer.step
            last = also_last and step == config.max_steps
            return math.isfinite(engine.state.output) and (step % interval == 0 or last)

        return Events.ITERATION_COMPLETED(event_filter=due)

    terminate_on_nan = TerminateOnNan()
    terminate_on_nan.logger.setLevel(logging.ERROR)  # `TrainingFailed` says it
    engine.add_event_handler(Events.ITERATION_COMPLETED, terminate_on_nan)
    trainer.attach(engine)
    _log_loss(engine, trainer, log, every(run.log_every, also_last=False))

    validation = _Measuring(lambda: trainer.validate(run.validation_limit), trainer, log)
    for handler in handlers.values():
        validation.engine.add_event_handler(Events.COMPLETED, handler)
    engine.add_event_handler(every(config.validate_every), validation)
    measuring = [validation]
    if run.score_every and config.stage != "contrastive":
        measuring.append(_Measuring(lambda: scores(trainer), trainer, log))
        engine.add_event_handler(every(run.score_every), measuring[-1])
    if run.picture_every:
        engine.add_event_handler(
            every(run.picture_every), lambda engine: on_first(draw_picture, trainer, output)
        )
    engine.add_event_handler(
        every(config.checkpoint_every),
        Checkpoint(
            {"run": trainer},
            functools.partial(_save, output),
            filename_pattern="checkpoint.pt",
            global_step_transform=lambda *_: trainer.step,
        ),
    )
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: engine.terminate() if trainer.stop else None
    )
    close = attach_trackers(engine, [m.engine for m in measuring], trainer, output)
    if progress and is_first():
        bar = ProgressBar(persist=True, bar_format=_BAR, desc=config.stage)
        now_and_then = max(1, min(10, (config.max_steps - trainer.step) // 20))
        bar.attach(
            engine,
            event_name=Events.ITERATION_COMPLETED(every=now_and_then),
            output_transform=lambda loss: {"loss": loss},
        )
    return close


def _log_loss(engine, trainer, log, due):
    recent = []

    @engine.on(Events.ITERATION_COMPLETED)
    def _collect(engine):
        recent.append(engine.state.output)

    @engine.on(due)
    def _write(engine):
        log(trainer.step, train_loss=round(sum(recent) / len(recent), 6))
        recent.clear()
