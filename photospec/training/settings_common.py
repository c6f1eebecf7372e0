"""What all tables of settings share: fields that explain themselves, checks in one line."""

from dataclasses import field

from photospec.errors import InputError

__all__ = ["explained", "require"]


def explained(default, text, **limits):
    """A field whose help and limits (`photospec.config`) become the comment in the file."""
    return field(default=default, metadata={"help": text, **limits})


def require(condition, name, expected, got):
    """Raise the one-line error that names a setting, unless `condition` holds."""
    if not condition:
        raise InputError(f"{name}: expected {expected}, got {got!r}")
