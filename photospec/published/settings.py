"""Settings files of the published code, read as ours: each key mapped, ignored or refused."""

from dataclasses import dataclass
from pathlib import Path

from photospec.config import from_dict, to_dict
from photospec.errors import InputError
from photospec.published.keys import IGNORED, KINDS, MAPPED, Refused
from photospec.training.config import TrainConfig
from photospec.training.presets import preset

__all__ = ["PublishedSettings", "read_published"]


@dataclass(frozen=True)
class PublishedSettings:
    """A settings file of the published code in our words.

    Attributes
    ----------
    config : TrainConfig
    notes : dict of str
        What became of each key of the file, in its order.
    """

    config: object
    notes: dict

    def __repr__(self):
        ignored = sum(note.startswith("ignored") for note in self.notes.values())
        return (
            f"<PublishedSettings: {self.config.stage}, {len(self.notes) - ignored} keys mapped, "
            f"{ignored} ignored>"
        )


def read_published(path, stage):
    """Read ``params_contrastive.yml`` or ``params_generative.yml``.

    What the file does not say is as in the preset "published".

    Parameters
    ----------
    path : path-like
    stage : {"contrastive", "base", "super-resolution"}
        Which network the file shall be read for; its ``dataset_file`` has to agree.

    Returns
    -------
    PublishedSettings

    Raises
    ------
    InputError
        Not such a file, or of another stage; a key that is not known, or whose value we
        cannot do.
    """
    flat = _flat(_load(path), path)
    changes, notes = {}, {}
    generative = any(key == "backbone" or key.startswith("spectrumunet.") for key in flat)
    if generative == (stage == "contrastive"):
        kind = "params_generative.yml" if generative else "params_contrastive.yml"
        raise InputError(
            f"--published: expected settings of the stage {stage}, got {path} ({kind})"
        )
    try:
        for key in flat:
            flat[key] = _typed(key, flat[key])
        for key, value in flat.items():
            if key in IGNORED:
                notes[key] = f"ignored: {IGNORED[key]}"
            elif key in MAPPED:
                new, notes[key] = MAPPED[key](value, stage, flat)
                changes |= new
            else:
                raise Refused("a key of the published settings", key, "is it misspelt?")
    except Refused as refusal:
        raise InputError(
            f"--published: {key}: expected {refusal.expected}, got {refusal.got!r} in {path}"
            f"{f'; {refusal.hint}' * bool(refusal.hint)}"
        ) from None
    try:
        config = from_dict(TrainConfig, _changed(to_dict(preset("published", stage)), changes))
    except InputError as error:
        raise InputError(f"--published: {path} as {error}") from None
    return PublishedSettings(config, notes)


def _load(path):
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--published: expected a YAML file, got {path} ({error})") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"--published: expected YAML, got {path}: {reason}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"--published: expected keys and values in {path}, got {type(content).__name__}"
        )
    return content


def _flat(content, path, prefix=""):
    """Tables of a file as keys with dots."""
    flat = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name.count(".") < 3:
            flat |= _flat(value, path, f"{name}.")
        else:
            flat[name] = value
    return flat


def _typed(key, value):
    """A value in the type that its key has; YAML takes 1e-4 for a text."""
    kind = KINDS.get(key)
    if kind is None or value is None:
        return value
    try:
        if kind is bool or isinstance(value, bool):
            if kind is not bool or not isinstance(value, bool):
                raise ValueError
            return value
        if kind == "numbers":
            if isinstance(value, str) or any(not isinstance(one, int) for one in value):
                raise ValueError
            return tuple(value)
        number = kind(float(value)) if kind is int else kind(value)
        if kind is int and number != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise Refused(names.get(kind, "whole numbers"), value) from None
    return number


def _changed(settings, changes):
    """Settings as nested dicts, with changes by dotted name."""
    for name, value in changes.items():
        table, _, entry = name.rpartition(".")
        (settings[table] if table else settings)[entry] = value
    return settings
