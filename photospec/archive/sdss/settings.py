"""Settings of a download: what is asked for, how hard to try, how polite to be."""

import re
from dataclasses import dataclass, field, fields, replace

from photospec.errors import InputError

__all__ = ["MAIN_GALAXY_SAMPLE", "DownloadConfig"]

# 448 = TARGET_GALAXY (64) | GALAXY_BIG (128) | GALAXY_BRIGHT_CORE (256): the Main Galaxy
# Sample of Strauss et al. (2002), as selected on the legacy target flags of SpecObj.
MAIN_GALAXY_SAMPLE = (
    "(s.legacy_target1 & 448) > 0 AND s.class = 'GALAXY' AND s.zWarning = 0"
    " AND s.z > 0.05 AND s.z < 0.15 AND p.clean = 1"
)

# What makes two runs the same download; the rest may change between runs.
IDENTITY = ("where", "release", "limit", "size", "bands")

POSITIVE = (
    "n_connections",
    "requests_per_second",
    "queries_per_minute",
    "page_size",
    "connect_timeout",
    "read_timeout",
    "query_timeout",
    "n_attempts",
    "n_passes",
    "expected_rate",
)


def _setting(default, text):
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class DownloadConfig:
    """Settings of `photospec.archive.download`; each has its explanation in its metadata."""

    where: str = _setting(
        MAIN_GALAXY_SAMPLE,
        "selection in SQL over s (SpecObj), p (PhotoObj), and the MPA-JHU tables"
        " l (galSpecLine), x (galSpecIndx), e (galSpecExtra), i (galSpecInfo)",
    )
    release: int = _setting(17, "SDSS data release")
    limit: int = _setting(0, "stop after so many galaxies; 0 takes all")
    size: int = _setting(64, "side of the cutouts, pixels of 0.396 arcsec")
    bands: str = _setting("ugriz", "bands to fetch, one letter each; r must be among them")
    max_masked: float = _setting(
        0.1, "largest part of a cutout that may lie outside its frame before it is refused"
    )
    keep_frames: bool = _setting(
        False, "keep whole frames (17 MB a field) after the galaxies on them are cut out"
    )
    confirm: bool = _setting(
        True,
        "fetch files that carry no checksum of their own (spectra, 1 % of the volume) twice"
        " and compare, because a changed byte in them cannot be seen otherwise",
    )
    n_connections: int = _setting(6, "downloads at once")
    requests_per_second: float = _setting(8.0, "upper limit on requests for files")
    queries_per_minute: float = _setting(50.0, "upper limit on queries; SkyServer allows 60")
    page_size: int = _setting(2000, "galaxies per catalogue query")
    connect_timeout: float = _setting(10.0, "seconds to wait for a connection")
    read_timeout: float = _setting(60.0, "seconds without a byte after which a transfer stalled")
    query_timeout: float = _setting(600.0, "seconds a catalogue query may take (SkyServer: 600)")
    min_rate: float = _setting(2e4, "bytes per second below which a transfer is given up")
    n_attempts: int = _setting(6, "attempts for one file before its galaxies are put off")
    n_passes: int = _setting(4, "rounds over the galaxies that were put off")
    pass_pause: float = _setting(600.0, "seconds between two rounds")
    backoff: float = _setting(1.0, "seconds before the first new attempt; doubles each time")
    max_backoff: float = _setting(120.0, "longest pause between two attempts, seconds")
    max_outage: float = _setting(86400.0, "seconds to wait for a network that went away")
    expected_rate: float = _setting(5e6, "bytes per second assumed for the time estimate")
    skyserver_url: str = _setting("", "address of the query server; empty: astroquery's own")
    sas_url: str = _setting("", "address of the file server; empty: astroquery's own")

    def __post_init__(self):
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
        if not 8 <= self.size <= 512:
            raise InputError(f"size: expected 8 to 512 pixels, got {self.size}")
        if not 0 <= self.max_masked < 1:
            raise InputError(f"max_masked: expected a fraction in [0, 1), got {self.max_masked}")
        if self.limit < 0:
            raise InputError(f"limit: expected 0 (all) or more, got {self.limit}")
        for name in POSITIVE:
            if getattr(self, name) <= 0:
                raise InputError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if self.release < 8:
            raise InputError(f"release: expected 8 or later, got {self.release}")

    def replace(self, **changes):
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

    def identity(self):
        """Return the settings that a folder cannot change once it is begun (dict)."""
        return {name: getattr(self, name) for name in IDENTITY}
