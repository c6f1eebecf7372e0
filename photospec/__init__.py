"""photospec: from a galaxy's photometric image to its optical spectrum."""

from importlib import import_module

__all__ = ["CandidateSpectra", "PhotoSpectrograph", "__version__", "conf"]

# Loaded on first use, so that ``import photospec`` stays fast and free of torch.
_LAZY = {
    "PhotoSpectrograph": "photospec.spectrograph",
    "conf": "photospec.utils.conf",
    "CandidateSpectra": "photospec.candidates",
}


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("photospec")
    raise AttributeError(f"module 'photospec' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
