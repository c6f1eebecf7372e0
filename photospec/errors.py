"""Errors and warnings of photospec.

Every error that a user can cause is an `InputError` whose message is one line:
the argument, what was expected, what came, and the likely cause. The command
line prints that line and exits; scripts catch `PhotospecError`.
"""

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["InputError", "MissingPackageError", "PhotospecError", "PhotospecWarning"]


class PhotospecError(Exception):
    """Base of all errors that photospec raises on purpose."""


class InputError(PhotospecError, ValueError):
    """An argument, file or configuration that cannot be used as it is."""


class MissingPackageError(InputError, ImportError):
    """A package is not installed that an extra of photospec installs; the message names it."""


class PhotospecWarning(AstropyUserWarning):
    """Something was repaired or left out; the result is still usable."""
