"""Losses in TensorBoard, Weights & Biases or MLflow, where their packages are installed."""

from importlib.util import find_spec

from ignite.engine import Events
from ignite.handlers import MLflowLogger, TensorboardLogger, WandBLogger

from photospec.errors import InputError
from photospec.training.distributed import is_first

__all__ = ["attach_trackers", "check_trackers"]


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
    """Tell the trackers in the settings about losses, in the first process.

    Parameters
    ----------
    engine : ignite.engine.Engine
        Takes the steps; its output is the loss.
    evaluators : sequence of ignite.engine.Engine
        Their metrics are told when they complete.
    trainer : Trainer
    output : pathlib.Path
        Run folder.

    Returns
    -------
    callable
        Closes them.
    """
    config, trackers = trainer.config, []
    if is_first():
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
