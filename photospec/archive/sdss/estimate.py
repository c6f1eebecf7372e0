"""What a download will cost, before it begins."""

import shutil
from dataclasses import dataclass

from photospec.archive.sdss.progress import clock, volume
from photospec.errors import InputError

__all__ = ["Estimate", "estimate", "require_space"]

# Typical sizes on the server (frames of runs 1043 and 1992: 3.2 to 3.8 MB).
FRAME = 3.6e6
SPECTRUM = 1.8e5
CATALOGUE_ROW = 6e3  # a galaxy with all its measurements in the state file


@dataclass(frozen=True)
class Estimate:
    """Cost of a download.

    Attributes
    ----------
    n_galaxies, n_fields, n_requests : int
        What is fetched.
    transfer : float
        Bytes over the network.
    disk : float
        Bytes on disk at the end, and at the most while it runs.
    free : float
        Bytes free on that disk now.
    seconds : float
        Duration, from `expected_rate` and the limit on requests.
    """

    n_galaxies: int
    n_fields: int
    n_requests: int
    transfer: float
    disk: float
    free: float
    seconds: float

    def __str__(self):
        return "\n".join(
            (
                f"galaxies          {self.n_galaxies}",
                f"fields            {self.n_fields}",
                f"requests          {self.n_requests}",
                f"transfer          {volume(self.transfer)}",
                f"disk              {volume(self.disk)} (free now: {volume(self.free)})",
                f"time              about {clock(self.seconds)}",
            )
        )


def estimate(config, folder, n_galaxies, n_fields):
    """Estimate the cost of a download.

    Parameters
    ----------
    config : DownloadConfig
        Settings.
    folder : Path
        Where it goes; the nearest existing folder above counts.
    n_galaxies, n_fields : int
        Galaxies, and fields that they lie on.

    Returns
    -------
    Estimate
        Sizes in bytes, time in seconds.
    """
    n_bands = len(config.bands)
    frames, spectra = n_fields * n_bands, n_galaxies * (2 if config.confirm else 1)
    transfer = frames * FRAME + spectra * SPECTRUM
    pixels = n_bands * config.size**2
    cutout = 9 * pixels + 15 * 2880
    pair = 4 * pixels + 8 * 4500 + 2000
    kept = frames if config.keep_frames else min(frames, config.n_connections * n_bands)
    disk = n_galaxies * (SPECTRUM + cutout + pair + CATALOGUE_ROW) + kept * FRAME
    seconds = max(transfer / config.expected_rate, (frames + spectra) / config.requests_per_second)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Estimate(n_galaxies, n_fields, frames + spectra, transfer, disk, free, seconds)


def require_space(cost, folder):
    """Raise `InputError` when the disk has less room than a download needs."""
    if cost.disk > cost.free:
        raise InputError(
            f"folder: expected {volume(cost.disk)} of free space in {folder}, got"
            f" {volume(cost.free)}; take another disk, or fewer galaxies with `limit`"
        )
