"""``photospec download``: galaxies from the archive, as pairs of image and spectrum."""

import sys
from dataclasses import fields
from pathlib import Path

from photospec.cli.arguments import add_verb

__all__ = ["add_arguments", "add_parser", "run"]

_DESCRIPTION = """\
Download galaxies from the SDSS into a folder: catalogue, five-band cutouts, spectra, and all
of it as pairs of image and spectrum in FOLDER/pairs.h5. A download that was stopped, by
whatever, goes on when the same command is given again. Ask with --dry-run what it will cost.
"""

# Option -> setting; help and default come from the setting.
_OPTIONS = {
    "--where": "where",
    "--limit": "limit",
    "--size": "size",
    "--bands": "bands",
    "--release": "release",
    "--max-masked": "max_masked",
    "--connections": "n_connections",
    "--requests-per-second": "requests_per_second",
    "--expected-rate": "expected_rate",
    "--skyserver-url": "skyserver_url",
    "--sas-url": "sas_url",
}


def add_parser(verbs, parents=()):
    """Declare the verb; its arguments follow when it is used, because they come from settings.

    Parameters
    ----------
    verbs : argparse subparsers
        Where to add the verb.
    parents : sequence of argparse.ArgumentParser
        Parsers with the arguments of all verbs.
    """
    parser = add_verb(
        verbs,
        parents,
        "download",
        run,
        summary="download galaxies from the SDSS as pairs",
        description=_DESCRIPTION,
    )
    parser.declare = add_arguments


def add_arguments(parser):
    """Declare the arguments of ``photospec download``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the verb.
    """
    from photospec.archive.sdss.settings import DownloadConfig

    settings = {setting.name: setting for setting in fields(DownloadConfig)}
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where everything goes")
    parser.add_argument(
        "--catalogue",
        type=Path,
        metavar="FILE",
        help="table of galaxies to take instead of asking SkyServer (any format of astropy)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings in TOML; options go before it"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only count the galaxies and estimate transfer, disk and time",
    )
    parser.add_argument(
        "--keep-frames", action="store_true", help=settings["keep_frames"].metadata["help"]
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="try galaxies again that an earlier run gave up for good",
    )
    for option, name in _OPTIONS.items():
        setting = settings[name]
        default = "astroquery's" if setting.default == "" else setting.default
        text = setting.metadata["help"].replace("%", "%%")
        parser.add_argument(
            option,
            dest=name,
            type=type(setting.default),
            default=None,
            metavar="N" if type(setting.default) in (int, float) else option[2:].upper(),
            help=f"{text} (default: {default})",
        )


def run(args):
    """Download as the arguments say.

    Parameters
    ----------
    args : argparse.Namespace
        What `add_arguments` declares, and ``quiet``.

    Returns
    -------
    int
        0 when all galaxies arrived, 1 when some did not (``failures.csv`` says why).
    """
    from photospec.archive import DownloadConfig, download
    from photospec.config import read_toml

    config = DownloadConfig()
    if args.config is not None:
        config = read_toml(DownloadConfig, args.config)
    changes = {
        name: getattr(args, name) for name in _OPTIONS.values() if getattr(args, name) is not None
    }
    if args.keep_frames:
        changes["keep_frames"] = True
    quiet = getattr(args, "quiet", False)
    report = download(
        args.folder,
        catalogue=args.catalogue,
        config=config.replace(**changes),
        dry_run=args.dry_run,
        retry_failed=args.retry_failed,
        progress=not quiet,
    )
    if args.dry_run or not quiet:
        sys.stdout.write(f"{report}\n")
    return 1 if report.n_failed else 0
