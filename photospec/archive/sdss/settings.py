"""Settings of a download: what to fetch, how often to retry, how many connections."""

import re
from dataclasses import dataclass, fields, replace
from typing import Self

from photospec.config import setting, validate
from photospec.errors import InputError

__all__ = ["MAIN_GALAXY_SAMPLE", "DownloadConfig"]

# 448 = TARGET_GALAXY (64) | GALAXY_BIG (128) | GALAXY_BRIGHT_CORE (256): the Main Galaxy
# Sample of Strauss et al. (2002), as selected on the legacy target flags of SpecObj.
MAIN_GALAXY_SAMPLE = (
    "(s.legacy_target1 & 448) > 0 AND s.class = 'GALAXY' AND s.zWarning = 0"
    " AND s.z > 0.05 AND s.z < 0.15 AND p.clean = 1"
)

# Settings that identify a download; the others may change when it is continued.
IDENTITY = ("where", "release", "limit", "size", "bands")

_LEAST = 1e-6  # of times and rates, which must not be zero


@dataclass(frozen=True)
class DownloadConfig:
    """Settings of `photospec.archive.download`."""

    where: str = setting(
        MAIN_GALAXY_SAMPLE,
        "selection in SQL over s (SpecObj), p (PhotoObj), and the MPA-JHU tables"
        " l (galSpecLine), x (galSpecIndx), e (galSpecExtra), i (galSpecInfo)",
    )
    release: int = setting(17, "SDSS data release; frames have this form since the eighth", min=8)
    limit: int = setting(0, "stop after so many galaxies; 0 takes all", min=0)
    size: int = setting(64, "side of the cutouts, pixels of 0.396 arcsec", min=8, max=512)
    bands: str = setting("ugriz", "bands to fetch, one letter each; r must be among them")
    max_masked: float = setting(
        0.1,
        "largest part of a cutout that may lie outside its frame before it is refused",
        min=0,
        max=0.99,
    )
    keep_frames: bool = setting(
        False, "keep whole frames (17 MB a field) after the galaxies on them are cut out"
    )
    confirm: bool = setting(
        True,
        "fetch files that carry no checksum of their own (spectra, 1 % of the volume) twice"
        " and compare, because a changed byte in them cannot be seen otherwise",
    )
    n_connections: int = setting(6, "downloads at once", min=1)
    requests_per_second: float = setting(8.0, "upper limit on requests for files", min=_LEAST)
    queries_per_minute: float = setting(
        50.0, "upper limit on queries; SkyServer allows 60", min=_LEAST
    )
    page_size: int = setting(2000, "galaxies per catalogue query", min=1)
    connect_timeout: float = setting(10.0, "seconds to wait for a connection", min=_LEAST)
    read_timeout: float = setting(
        60.0, "seconds without a byte after which a transfer stalled", min=_LEAST
    )
    query_timeout: float = setting(
        600.0, "seconds a catalogue query may take (SkyServer: 600)", min=_LEAST
    )
    min_rate: float = setting(2e4, "bytes per second below which a transfer is given up", min=0)
    n_attempts: int = setting(6, "attempts for one file before its galaxies are put off", min=1)
    n_passes: int = setting(4, "rounds over the galaxies that were put off", min=1)
    pass_pause: float = setting(600.0, "seconds between two rounds", min=0)
    backoff: float = setting(1.0, "seconds before the first new attempt; doubles each time", min=0)
    max_backoff: float = setting(120.0, "longest pause between two attempts, seconds", min=0)
    max_outage: float = setting(86400.0, "seconds to wait for a network that went away", min=0)
    expected_rate: float = setting(
        5e6, "bytes per second assumed for the time estimate", min=_LEAST
    )
    skyserver_url: str = setting("", "address of the query server; empty: astroquery's own")
    sas_url: str = setting("", "address of the file server; empty: astroquery's own")

    def __post_init__(self):
        validate(self)
        if not self.where.strip():
            raise InputError(
                "where: expected a condition in SQL, got an empty one; an empty query would"
                " select all 5 million spectra (leave `where` out for the Main Galaxy Sample)"
            )
        if re.search(r";|--|/\*", self.where):
            raise InputError(
                f"where: expected one condition, got {self.where!r}; ';', '--' and '/*' would"
                " end or hide the rest of the query"
            )
        letters = set(self.bands)
        if not letters or letters - set("ugriz") or len(letters) != len(self.bands):
            raise InputError(f"bands: expected different letters of 'ugriz', got {self.bands!r}")
        if "r" not in letters:
            raise InputError(
                f"bands: expected r among them, got {self.bands!r}; its grid is the common one"
            )

    def replace(self, **changes: object) -> Self:
        """Return the same settings with some changed.

        Parameters
        ----------
        **changes
            Names and new values of settings.

        Returns
        -------
        DownloadConfig
            New settings, checked like any other.
        """
        unknown = set(changes) - {f.name for f in fields(self)}
        if unknown:
            raise InputError(f"setting: expected a name of DownloadConfig, got {sorted(unknown)}")
        return replace(self, **changes)

    def identity(self) -> dict:
        """Return the settings that a folder cannot change once it is begun (dict)."""
        return {name: getattr(self, name) for name in IDENTITY}
