"""What users may set once for all, in astropy's configuration (``photospec.conf``)."""

from astropy import config

__all__ = ["Conf", "conf"]


class Conf(config.ConfigNamespace):
    """Configuration of photospec.

    Set an item for a session (``photospec.conf.max_bytes = 2**33``), for a block
    (``with photospec.conf.set_temp("max_bytes", 2**33):``) or in astropy's configuration file
    ``photospec.cfg`` (see `astropy.config`).

    Examples
    --------
    >>> from photospec.utils.conf import conf
    >>> with conf.set_temp("max_bytes", 1000):
    ...     conf.max_bytes
    1000
    """

    rootname = "photospec"

    max_bytes = config.ConfigItem(
        2**32,
        "Largest size in bytes that a file from others may claim for what is read into memory at "
        "once: an image, a spectrum, a table column, unpacked FITS files, network weights. "
        "Files that claim more are refused before any memory is taken.",
        cfgtype="integer",
    )


#: The configuration in force.
conf = Conf()
