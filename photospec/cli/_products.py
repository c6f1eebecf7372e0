"""Products: a file for each galaxy, beside its observed spectrum where that is given."""

from photospec.cli.outputs import check_outputs
from photospec.errors import InputError

# Farther apart, an observed spectrum is that of another galaxy, or of another part of it.
_MATCH_ARCSEC = 2.0


class Products:
    """Where the products of images go; what cannot be written is refused at once.

    Parameters
    ----------
    folder : pathlib.Path
        Of the products; made if it does not exist, in a folder that does.
    sources : list of ImageSource
        The images.
    observed : list of pathlib.Path
        Observed spectra.
    overwrite : bool
        Whether existing files may be replaced.
    """

    def __init__(self, folder, sources, observed=(), overwrite=False):
        from photospec.cli.outputs import check_folder

        self._folder, self._overwrite = folder, overwrite
        check_folder(folder if folder.exists() else folder.parent, "--products")
        self._paths = {source.name: folder / f"{_stem(source.name)}.fits" for source in sources}
        if len(set(self._paths.values())) < len(sources):
            raise InputError(
                "--products: expected images of different names, got two of the same in different "
                "folders; run them one after the other"
            )
        if folder.exists():
            outputs = {f"--products {path.name}": path for path in self._paths.values()}
            check_outputs(outputs, overwrite=overwrite)
        self._observed = [_read(path) for path in observed]

    def write(self, found):
        """Write the products.

        Parameters
        ----------
        found : Predictions
            Names and spectra.
        """
        from photospec.spectrum import write_product
        from photospec.spectrum.own_files import own_spectra

        self._folder.mkdir(exist_ok=True)
        for name, spectrum in zip(found.names, own_spectra(found.spectra), strict=True):
            write_product(
                self._paths[name],
                spectrum,
                observed=self._match(spectrum),
                overwrite=self._overwrite,
            )

    def _match(self, spectrum):
        """Find the observed spectrum nearest to the target of a predicted one; None without any."""
        if not self._observed or spectrum.meta.get("ra") is None:
            return None
        from astropy import units as u
        from astropy.coordinates import SkyCoord

        here = SkyCoord(spectrum.meta["ra"], spectrum.meta["dec"], unit="deg")
        there = SkyCoord(
            [one.meta["ra"] for one in self._observed],
            [one.meta["dec"] for one in self._observed],
            unit="deg",
        )
        distance = here.separation(there).to_value(u.arcsec)
        nearest = int(distance.argmin())
        return self._observed[nearest] if distance[nearest] <= _MATCH_ARCSEC else None


def _stem(name):
    """Name of an image without folder, ending, and what a file system refuses."""
    last = name.rsplit("/", 1)[-1].replace(" ", "_")
    for ending in (".bz2", ".gz", ".fz", ".fits", ".fit"):
        last = last.removesuffix(ending)
    return last


def _read(path):
    from photospec.spectrum import read_spectrum

    found = read_spectrum(path)
    meta = getattr(found, "meta", {})
    if meta.get("ra") is None or meta.get("dec") is None or found.flux.ndim != 1:
        raise InputError(
            f"--observed: expected one spectrum with a position (RA, Dec) in {path}, got none; "
            "SDSS spec files have it"
        )
    return found
