"""Settings: frozen dataclasses on one side, commented TOML on the other.

A field explains itself, and the file repeats that as a comment::

    @dataclass(frozen=True)
    class TrainingConfig:
        batch_size: int = setting(64, "Pairs per step.", min=1)
        optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

        def __post_init__(self):
            validate(self)

Nested dataclasses are tables. Types: bool, int, float, str, Path, tuples and lists of these,
dict of these, ``None`` as an alternative (an absent key), and nested dataclasses.

A class whose settings come in several kinds has a class method ``select_class(data)``: given the
content of its table, it returns the subclass to make, and the content that is for it.
"""

import dataclasses
import difflib
import json
import math
import numbers
import re
import tomllib
import types
import typing
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from photospec.errors import InputError
from photospec.utils.files import replacing
from photospec.utils.reading import one_line

__all__ = [
    "from_dict",
    "is_whole",
    "read_toml",
    "setting",
    "to_dict",
    "validate",
    "whole_number",
    "write_toml",
]

# Instances of the class that is asked for.
_Settings = typing.TypeVar("_Settings")
# Names that an error about an unknown one lists; more would not fit on a line of a terminal.
_MOST_NAMES = 8


def setting(
    default: object,
    help: str = "",  # noqa: A002
    *,
    min: float | None = None,  # noqa: A002
    max: float | None = None,  # noqa: A002
    choices: Sequence | None = None,
) -> typing.Any:  # to type checkers a field is its value
    """Declare a field of a settings dataclass, with what it means and what is possible.

    Parameters
    ----------
    default : object
        A class is called for the default, as for nested settings.
    help : str
        Comment in the TOML file.
    min, max : float, optional
        Inclusive limits; of each item where the value is a sequence.
    choices : sequence, optional
        The values possible.

    Returns
    -------
    dataclasses.Field

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Seeing:
    ...     fwhm: float = setting(1.3, "Arcsec.", min=0.1, max=10)
    ...
    ...     def __post_init__(self):
    ...         validate(self)
    >>> Seeing().fwhm
    1.3
    >>> Seeing(fwhm=-1.0)
    Traceback (most recent call last):
    ...
    photospec.errors.InputError: fwhm: expected 0.1 to 10, got -1.0; Arcsec.
    """
    limits = {"min": min, "max": max, "choices": choices}
    metadata = {"help": help} | {k: v for k, v in limits.items() if v is not None}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def validate(settings: object) -> None:
    """Refuse values outside the limits that the fields declare; for ``__post_init__``.

    Parameters
    ----------
    settings : dataclass instance
        With fields made by `setting`.

    Raises
    ------
    InputError
        Naming the field, what it expects, what it got and what it means.
    """
    for item in dataclasses.fields(settings):
        reason = _beyond_limits(item.metadata, getattr(settings, item.name))
        if reason:
            meaning = " ".join(str(item.metadata.get("help", "")).split())
            raise InputError(f"{item.name}: {reason}" + (f"; {meaning}" if meaning else ""))


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number of any kind; True and 2.0 are none.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def whole_number(name: str, value: object, least: int) -> int:
    """Return a whole number as an int, or refuse it.

    Parameters
    ----------
    name : str
        What to call it in an error.
    value : object
    least : int
        The smallest number allowed.

    Returns
    -------
    int

    Raises
    ------
    InputError
        For a number that is smaller, or anything that is no whole number, such as 2.0.

    Examples
    --------
    >>> from photospec.config import whole_number
    >>> whole_number("n_candidates", 0, 1)
    Traceback (most recent call last):
    ...
    photospec.errors.InputError: n_candidates: expected a whole number of at least 1, got 0
    """
    if not is_whole(value) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return int(value)


def read_toml(cls: type[_Settings], path: str | PathLike) -> _Settings:
    """Read a dataclass from a TOML file.

    Parameters
    ----------
    cls : type
        A dataclass.
    path : path-like
        The file; keys that are absent take the default of their field.

    Returns
    -------
    instance of `cls`

    Raises
    ------
    InputError
        Naming file and line: unknown key, wrong type, value out of range, broken TOML.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"path: expected a TOML file, got {path} which does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"path: expected a TOML file, got {path} ({error})") from None
    try:
        data = tomllib.loads(text)
    # Besides its own errors the parser lets through numbers of more digits than Python converts
    # (ValueError) and nesting deeper than its stack.
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        reason = one_line(error)
        raise InputError(f"{path}: expected TOML, got something else: {reason}") from None

    def where(keys):
        # Of the key or, where it is not in the file, of its table.
        line = next(filter(None, (_line(text, keys[:n]) for n in range(len(keys), 0, -1))), 0)
        return f"{path}, line {line}" if line else f"{path}"

    return _build(cls, data, (), where)


def from_dict(cls: type[_Settings], data: dict) -> _Settings:
    """Make a dataclass from nested dictionaries, with the checks of `read_toml`.

    Parameters
    ----------
    cls : type
        A dataclass.
    data : dict
        Such as `to_dict` gives.

    Returns
    -------
    instance of `cls`

    Raises
    ------
    InputError
        Unknown key, wrong type, value out of range.
    """
    return _build(cls, data, (), lambda keys: "settings")


def to_dict(obj: object) -> dict:
    """Turn a dataclass into nested dictionaries of plain values; None is left out.

    Parameters
    ----------
    obj : dataclass instance

    Returns
    -------
    dict
    """
    result = {}
    for item in dataclasses.fields(obj):
        value = getattr(obj, item.name)
        if value is not None:
            result[item.name] = _plain(value)
    return result


def write_toml(obj: object, path: str | PathLike, *, overwrite: bool = True) -> None:
    """Write a dataclass to a TOML file whose comments explain each setting.

    Parameters
    ----------
    obj : dataclass instance
        What to write.
    path : path-like
        Written under a temporary name first, then renamed.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        If the file exists and must not be replaced.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"path: expected a new file, got {path} which exists; allow overwrite")
    with replacing(path) as temporary:
        temporary.write_text("\n".join(_render(obj, ())).strip() + "\n", encoding="utf-8")


def _plain(value):
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _render(obj, keys):
    doc = (type(obj).__doc__ or "").strip().splitlines()
    lines = [f"# {doc[0]}"] if doc and not doc[0].startswith(type(obj).__name__ + "(") else []
    if keys:
        lines.append(f"[{'.'.join(keys)}]")
    tables = []
    for item in dataclasses.fields(obj):
        value = getattr(obj, item.name)
        if dataclasses.is_dataclass(value):
            tables.append((item.name, value))
            continue
        comment = _comment(item)
        lines += [f"# {line}" for line in comment]
        # An absent key is how TOML says None.
        lines.append(f"# {item.name} =" if value is None else f"{item.name} = {_literal(value)}")
    for name, value in tables:
        lines += ["", *_render(value, (*keys, name))]
    return lines


def _comment(item):
    text = str(item.metadata.get("help", "")).strip().splitlines()
    limits = []
    if "choices" in item.metadata:
        limits.append("one of " + ", ".join(map(str, item.metadata["choices"])))
    if "min" in item.metadata:
        limits.append(f"at least {item.metadata['min']}")
    if "max" in item.metadata:
        limits.append(f"at most {item.metadata['max']}")
    if limits:
        text = [*text[:-1], f"{text[-1]} ({'; '.join(limits)})" if text else "; ".join(limits)]
    return text


def _literal(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return str(value)
        return repr(float(value))
    if isinstance(value, str | Path):
        # JSON strings are TOML basic strings, but for DEL.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(str(key))} = {_literal(v)}" for key, v in value.items())
        return "{" + inside + "}"
    raise InputError(f"settings: expected a plain value, got {type(value).__name__}")


def _build(cls, data, keys, where):
    if not isinstance(data, dict):
        raise InputError(
            f"{where(keys)}: expected the table [{'.'.join(keys)}], got {_shown(data)}"
        )
    if hasattr(cls, "select_class"):
        cls, data = cls.select_class(data)
    fields = {item.name: item for item in dataclasses.fields(cls) if item.init}
    hints = typing.get_type_hints(cls)
    for name in data:
        if name not in fields:
            raise InputError(
                f"{where((*keys, name))}: expected one of {_similar(name, fields)}, got the key "
                f"{'.'.join((*keys, name))!r:.80}; is it misspelt?"
            )
    values = {}
    for name, value in data.items():
        at = (*keys, name)
        values[name] = _convert(hints[name], value, at, where)
        _check_limits(fields[name].metadata, values[name], at, where)
    missing = [
        name
        for name, item in fields.items()
        if name not in data
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where(keys)}: expected the keys {', '.join(missing)}, got none")
    try:
        return cls(**values)
    except InputError as error:
        # The settings that do not agree: their error begins with a key, "table.key: expected".
        at = (*keys, *str(error).partition(":")[0].split("."))
        raise InputError(f"{where(at)}: {error}") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{where(keys)}: expected settings that agree, got: {error}") from None


def _similar(name, names):
    """Name what to offer for an unknown name: all where they are few, else the likeliest."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    likely = difflib.get_close_matches(name, names, _MOST_NAMES, cutoff=0)
    return f"{', '.join(likely)} or {len(names) - len(likely)} others"


def _check_limits(metadata, value, at, where):
    reason = _beyond_limits(metadata, value)
    if reason:
        raise InputError(f"{where(at)}: {'.'.join(at)}: {reason}")


def _beyond_limits(metadata, value):
    """Say what a value should have been and is not; None where it is within the limits."""
    low, high = metadata.get("min"), metadata.get("max")
    for one in value if isinstance(value, tuple | list) else (value,):
        if "choices" in metadata and one is not None and one not in metadata["choices"]:
            choices = ", ".join(map(str, metadata["choices"]))
            return f"expected one of {choices}, got {_shown(one)}"
        if (low is None and high is None) or one is None:
            continue
        # Negated, so that not-a-number is refused too.
        if not isinstance(one, numbers.Real) or not (
            (low is None or one >= low) and (high is None or one <= high)
        ):
            span = f"at least {low}" if high is None else f"at most {high}"
            span = span if low is None or high is None else f"{low} to {high}"
            return f"expected {span}, got {_shown(one)}"
    return None


def _convert(kind, value, at, where):
    """Bring a TOML value into the type of its field, or say why not."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        reasons = []
        for option in (option for option in args if option is not type(None)):
            try:
                return _convert(option, value, at, where)
            except InputError as error:
                reasons.append(error)
        raise reasons[0]
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, at, where)
    if kind is typing.Any:
        return value
    if origin in (tuple, list) or kind in (tuple, list):
        container = origin or kind
        if not isinstance(value, list | tuple):
            raise _wrong(kind, value, at, where)
        if container is tuple and args and args[-1] is not Ellipsis:
            if len(value) != len(args):
                raise _wrong(kind, value, at, where)
            return tuple(_convert(a, v, at, where) for a, v in zip(args, value))
        return container(_convert(args[0], v, at, where) if args else v for v in value)
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise _wrong(kind, value, at, where)
        if not args:
            return dict(value)
        return {key: _convert(args[1], v, (*at, key), where) for key, v in value.items()}
    if origin is typing.Literal:
        if value not in args:
            choices = ", ".join(map(str, args))
            raise InputError(
                f"{where(at)}: {'.'.join(at)}: expected one of {choices}, got {_shown(value)}"
            )
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(kind, type) and isinstance(value, kind):
        if kind is int and isinstance(value, bool):
            raise _wrong(kind, value, at, where)
        return value
    raise _wrong(kind, value, at, where)


def _wrong(kind, value, at, where):
    names = {
        int: "a whole number",
        float: "a number",
        str: "a text in quotes",
        bool: "true or false",
    }
    wanted = names.get(kind) or str(kind).replace("typing.", "")
    return InputError(f"{where(at)}: {'.'.join(at)}: expected {wanted}, got {_shown(value)}")


def _shown(value):
    try:
        text = _literal(value)
    except InputError:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _line(text, keys):
    """Return the line number of a key (or of its table), 0 when it cannot be told."""
    table, best = (), 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$", line)
        if header:
            table = _split(header.group(1))
            if table == tuple(keys):
                return number
            continue
        entry = re.match(r"\s*((?:[\w-]+|\"[^\"]*\")(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"))*)\s*=", line)
        if entry:
            here = table + _split(entry.group(1))
            if here == tuple(keys):
                return number
            if keys and here == tuple(keys[: len(here)]):
                best = number  # an inline table holds it
    return best


def _split(dotted):
    return tuple(part.strip().strip('"') for part in dotted.split("."))
