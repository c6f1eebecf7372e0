"""Weights on the Hugging Face hub: ``hf://owner/name@revision``.

A repository there is what `PhotoSpectrograph.save` writes: ``config.toml`` and ``*.safetensors``.
Files are kept in the hub's cache, and each is compared with the hash that the hub has of it.
Another server than huggingface.co is named by the environment variable ``HF_ENDPOINT``.
"""

import hashlib
import os
import re
from os import PathLike
from pathlib import Path

from photospec.errors import InputError
from photospec.utils.optional import optional_imports

__all__ = ["fetch_weights", "is_hub_address", "push_weights"]

_PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_FILES = ["config.toml", "*.safetensors"]


def is_hub_address(path: object) -> bool:
    """Tell whether a path is an address on the hub.

    Parameters
    ----------
    path : object

    Returns
    -------
    bool

    Examples
    --------
    >>> from photospec.hub import is_hub_address
    >>> is_hub_address("hf://owner/name@v1"), is_hub_address("run/spectrograph")
    (True, False)
    """
    return isinstance(path, str) and path.startswith(_PREFIX)


def _parse(address):
    found = _ADDRESS.fullmatch(address) if is_hub_address(address) else None
    if found is None:
        raise InputError(f"weights: expected hf://owner/name or hf://owner/name@revision, got "
                         f"{address!r}")  # fmt: skip
    return found["name"], found["revision"]


def _api():
    with optional_imports():
        from huggingface_hub import HfApi
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="photospec")


def fetch_weights(address: str) -> Path:
    """Download weights, or find them in the cache.

    Parameters
    ----------
    address : str
        ``hf://owner/name@revision``: a branch, a tag or, to get the same for ever, a commit.
        Without a revision the newest.

    Returns
    -------
    pathlib.Path
        Folder that `PhotoSpectrograph.load` takes.

    Raises
    ------
    InputError
        No such repository or revision, no way to the hub, or a file that is not what its hash
        says.
    MissingPackageError
        huggingface_hub is not installed: the extra ``hub`` brings it.
    """
    name, revision = _parse(address)
    api = _api()
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(api.snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"weights: expected {address} on the hub, got {type(error).__name__} ({reason}); is "
            "the name right, and the hub within reach?"
        ) from None
    for path in sorted(folder.iterdir()):
        _check(path, address)
    return folder


def _check(path, address):
    """Compare a file with the hash that the hub gave, by which the cache calls it."""
    wanted = path.resolve().name
    data = path.read_bytes()
    if len(wanted) == 64:  # large files are known by their SHA-256
        got = hashlib.sha256(data).hexdigest()
    else:  # others by git's hash of them, which is no protection against malice
        head = b"blob %d\0" % len(data)
        got = hashlib.sha1(head + data, usedforsecurity=False).hexdigest()
    if got != wanted:
        raise InputError(
            f"weights: expected {path.name} of {address} with the hash {wanted}, got {got}; was "
            f"the download damaged? Remove {path.resolve()} to fetch it again"
        )


def push_weights(
    folder: str | PathLike,
    address: str,
    *,
    private: bool = True,
    message: str = "Weights of photospec",
) -> str:
    """Upload a folder of weights; the repository is made if need be.

    Parameters
    ----------
    folder : path-like
        Written by `PhotoSpectrograph.save`.
    address : str
        ``hf://owner/name``, or with ``@branch``.
    private : bool
        Whether a new repository is for its owner only.
    message : str
        Of the commit.

    Returns
    -------
    str
        ``hf://owner/name@commit``, which gives these weights for ever.

    Raises
    ------
    InputError
        No weights in the folder, or the hub refuses; log in with ``hf auth login``.
    MissingPackageError
        huggingface_hub is not installed: the extra ``hub`` brings it.
    """
    name, revision = _parse(address)
    folder, api = Path(folder), _api()
    if not (folder / "config.toml").is_file():
        raise InputError(f"folder: expected weights with config.toml, got {folder}")
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            revision=revision,
            allow_patterns=_FILES,
            commit_message=message,
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"address: expected a repository that may be written, got {address} "
            f"({type(error).__name__}: {reason}); log in with 'hf auth login'"
        ) from None
    return f"{_PREFIX}{name}@{commit.oid}"
