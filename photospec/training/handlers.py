"""What happens around the steps, as Ignite handlers of the engine that takes them."""

import functools
import logging
import math
from importlib.util import find_spec

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import (
    Checkpoint,
    EarlyStopping,
    MLflowLogger,
    TensorboardLogger,
    TerminateOnNan,
    WandBLogger,
)

from photospec.errors import InputError
from photospec.training.distributed import is_rank_zero, run_on_rank_zero
from photospec.training.run_folder import BEST, CHECKPOINT, save_checkpoint, writing
from photospec.training.validation import draw_candidates, scores
from photospec.utils.progress import progress_bar

__all__ = [
    "attach_handlers",
    "attach_trackers",
    "check_trackers",
    "draw_picture",
    "is_finished",
    "make_handlers",
]

# Candidates of a galaxy, and galaxies of a matrix of similarities, in a picture.
_CANDIDATES = 5
_SIMILARITIES = 64  # more cells than these are smaller than a pixel of the picture


def quiet(engine):
    """Silence an engine's own log: the errors that leave it say what happened."""
    engine.logger = logging.getLogger(f"{__name__}.engine")
    engine.logger.setLevel(logging.CRITICAL)
    return engine


class _Average:
    """What the best checkpoint holds."""

    def __init__(self, trainer):
        self.trainer = trainer

    def state_dict(self):
        return {"step": self.trainer.step, "network": self.trainer.ema.network.state_dict()}


def _save(folder, state, name):
    run_on_rank_zero(save_checkpoint, folder / name, state)


def _loss(engine):
    loss = engine.state.metrics["loss"]
    return loss if math.isfinite(loss) else math.inf


def make_handlers(engine, trainer, output):
    """Make the handlers with a memory: they become part of the trainer's state.

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
            filename_pattern=BEST,
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
    """Tell whether all steps are taken, or none helps any more."""
    stopping = trainer.others.get("early_stopping")
    stopped = stopping is not None and stopping.counter >= stopping.patience
    return stopped or trainer.step >= trainer.config.max_steps


class _Validation:
    """An engine that measures the moving average on rank 0 and broadcasts the result."""

    def __init__(self, measure, trainer, log):
        self.trainer, self.log = trainer, log
        self.engine = quiet(Engine(lambda engine, item: run_on_rank_zero(measure)))
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

    validation = _Validation(lambda: trainer.validate(run.validation_limit), trainer, log)
    for handler in handlers.values():
        validation.engine.add_event_handler(Events.COMPLETED, handler)
    engine.add_event_handler(every(config.validate_every), validation)
    validations = [validation]
    if run.score_every and config.stage != "contrastive":
        validations.append(_Validation(lambda: scores(trainer), trainer, log))
        engine.add_event_handler(every(run.score_every), validations[-1])
    if run.picture_every:
        engine.add_event_handler(
            every(run.picture_every), lambda engine: run_on_rank_zero(draw_picture, trainer, output)
        )
    engine.add_event_handler(
        every(config.checkpoint_every),
        Checkpoint(
            {"run": trainer},
            functools.partial(_save, output),
            filename_pattern=CHECKPOINT,
            global_step_transform=lambda *_: trainer.step,
        ),
    )
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: engine.terminate() if trainer.stop else None
    )
    close = attach_trackers(engine, [m.engine for m in validations], trainer, output)
    if progress and is_rank_zero():
        _show_progress(engine, trainer)
    return close


def _show_progress(engine, trainer):
    config = trainer.config
    bar = progress_bar(config.max_steps, config.stage, done=trainer.step)
    interval = max(1, min(10, (config.max_steps - trainer.step) // 20))

    @engine.on(Events.ITERATION_COMPLETED(every=interval))
    def _advance(engine):
        bar.set_description(f"{config.stage}, loss {engine.state.output:.3g}")
        bar.update(trainer.step - bar.n)

    @engine.on(Events.COMPLETED | Events.TERMINATE | Events.EXCEPTION_RAISED)
    def _close(engine, *error):
        bar.update(trainer.step - bar.n)
        bar.close()
        if error:  # a handler of errors stands in for their way up
            raise error[0]


def _log_loss(engine, trainer, log, due):
    recent = []

    @engine.on(Events.ITERATION_COMPLETED)
    def _collect(engine):
        recent.append(engine.state.output)

    @engine.on(due)
    def _write(engine):
        log(trainer.step, train_loss=round(sum(recent) / len(recent), 6))
        recent.clear()


def _tensorboard(config, output, step):
    # What a killed run wrote beyond the step it goes on from disappears.
    return TensorboardLogger(log_dir=str(output / "tensorboard"), purge_step=step)


def _wandb(config, output, step):
    return WandBLogger(project=config.run.project, dir=str(output), name=output.name)


def _mlflow(config, output, step):
    return MLflowLogger(tracking_uri=f"file:{(output / 'mlruns').absolute()}")


_LOGGERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def check_trackers(config):
    """Refuse trackers whose packages are not installed.

    Raises
    ------
    InputError
    """
    for name in config.run.trackers:
        if find_spec(name) is None:
            raise InputError(f"trackers: expected installed ones, got {name!r}; pip install {name}")


def attach_trackers(engine, evaluators, trainer, output):
    """Log losses to the trackers in the settings, on rank 0.

    Parameters
    ----------
    engine : ignite.engine.Engine
        Takes the steps; its output is the loss.
    evaluators : sequence of ignite.engine.Engine
        Their metrics are logged when they complete.
    trainer : Trainer
    output : pathlib.Path
        Run folder.

    Returns
    -------
    callable
        Closes them.
    """
    config, trackers = trainer.config, []
    if is_rank_zero():
        trackers = [_LOGGERS[name](config, output, trainer.step) for name in config.run.trackers]

    def step(*_):
        return trainer.step

    every = Events.ITERATION_COMPLETED(
        event_filter=lambda engine, _: trainer.step % config.run.log_every == 0
    )
    for tracker in trackers:
        tracker.attach_output_handler(
            engine,
            every,
            tag="train",
            output_transform=lambda loss: {"loss": loss},
            global_step_transform=step,
        )
        for evaluator in evaluators:
            tracker.attach_output_handler(
                evaluator,
                Events.COMPLETED,
                tag="validation",
                metric_names="all",
                global_step_transform=step,
            )

    def close():
        for tracker in trackers:
            tracker.close()

    return close


def draw_picture(trainer, output):
    """Write ``pictures/step_<number>.png`` into a run folder.

    For a diffusion stage, candidates of held-out galaxies over the truth; for the
    contrastive network, similarities of held-out images (rows) and spectra (columns).

    Parameters
    ----------
    trainer : Trainer
    output : pathlib.Path

    Raises
    ------
    InputError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    contrastive = trainer.config.stage == "contrastive"
    figure = Figure(layout="constrained")
    (_draw_similarities if contrastive else _draw_candidates)(figure, trainer)
    figure.suptitle(f"{trainer.config.stage}, step {trainer.step}", fontsize=9)
    path = output / "pictures" / f"step_{trainer.step:07d}.png"

    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"output: expected room for {path.parent}, got {error}") from None
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_candidates(figure, trainer):
    run = trainer.config.run
    batch = trainer.stream.validation(run.pictures).to(trainer.device)
    candidates, truth = draw_candidates(
        trainer.ema, batch, _CANDIDATES, n_steps=run.score_steps, seed=trainer.config.seed
    )
    wavelength = np.linspace(*trainer.stream.files[0].wavelength[[0, -1]], truth.shape[-1])
    images = batch.image[:, batch.image.shape[1] // 2].clamp_min(0).sqrt()
    n = len(truth)
    figure.set_size_inches(9, 1 + 1.6 * n)
    rows = figure.subplots(n, 2, squeeze=False, width_ratios=[1, 5], sharex="col")
    parts = (tensor.cpu().numpy() for tensor in (images, candidates, truth))
    for (left, right), image, drawn, true in zip(rows, *parts, strict=True):
        left.imshow(image, origin="lower", cmap="gray")
        left.set_axis_off()
        right.plot(wavelength, drawn.T, color="tab:blue", linewidth=0.5, alpha=0.7)
        right.plot(wavelength, true, color="tab:orange", linewidth=0.9)
        right.tick_params(labelsize=7)
    rows[-1, 1].set_xlabel("Observed wavelength in vacuum [Å]", fontsize=8)
    figure.supylabel("standardised logarithmic flux; orange: truth", fontsize=8)


@torch.no_grad()
def _draw_similarities(figure, trainer):
    batch = trainer.stream.validation(_SIMILARITIES).to(trainer.device)
    image, spectrum = trainer.ema.validation_embeddings(batch)
    axes = figure.subplots()
    shown = axes.imshow((image @ spectrum.T).float().cpu().numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set(xlabel="spectrum", ylabel="image")
    figure.colorbar(shown, label="cosine similarity")
