"""Photometric redshifts as a stage of RAIL, the photo-z infrastructure of the LSST DESC.

Needs ``pip install photospec[rail]``; nothing else in photospec imports this module. RAIL
(https://rail-hub.readthedocs.io) gives its estimators tables of magnitudes. This one takes
images: a column of them in a table, of which RAIL reads a chunk at a time, or the table in memory.
"""

import numpy as np

from photospec.errors import InputError

try:
    from ceci.config import StageParameter
    from rail.core.data import QPHandle, TableHandle
    from rail.core.enums import DistributionType
    from rail.estimation.estimator import CatEstimator
except ImportError:
    CatEstimator = None

__all__ = [] if CatEstimator is None else ["PhotospecEstimator"]  # noqa: PLE0605
__doctest_requires__ = {"PhotospecEstimator": ["rail"]}


def __getattr__(name):
    if name == "PhotospecEstimator":
        raise InputError(
            "PhotospecEstimator: expected the package pz-rail-base, got none; "
            "pip install photospec[rail]"
        )
    raise AttributeError(f"module {__name__} has no attribute {name}")


if CatEstimator is not None:

    class PhotospecEstimator(CatEstimator):
        """Densities of the redshifts of images, without drawing spectra.

        `PhotoSpectrograph.redshift_density` as a RAIL estimator. There is no informer to run
        first: the model is a folder of trained weights.

        The input is a table with a column of images (n, n_bands, ny, nx) in nanomaggies, the
        targets in the centres, and, if the option ``ebv_column`` names one that is there, the
        E(B-V) of the Milky Way in mag, NaN where it is not known.

        The output is an ensemble of ``qp.interp`` (`ImageRedshiftDensity.to_qp`) on ``nzbins``
        redshifts from ``zmin`` to ``zmax``; beside the means, medians and modes its ancillary
        table has ``out_of_distribution``: whether the image is unlike those of the training.

        Examples
        --------
        >>> from photospec.rail import PhotospecEstimator
        >>> stage = PhotospecEstimator.make_stage(name="photospec", hdf5_groupname="")
        >>> table = {"image": images, "ebv": ebv}  # doctest: +SKIP
        >>> stage.estimate(table).data.ancil["zmean"]  # doctest: +SKIP
        """

        name = "PhotospecEstimator"
        entrypoint_function = "estimate"
        inputs = [("input", TableHandle)]  # noqa: RUF012 (RAIL's own way to declare them)
        outputs = [("output", QPHandle)]  # noqa: RUF012
        config_options = CatEstimator.config_options | {
            "zmax": StageParameter(float, 0.6, msg="The maximum redshift of the z grid"),
            "nzbins": StageParameter(int, 601, msg="The number of gridpoints in the z grid"),
            # Images are large: RAIL's 10,000 of them would be 800 MB.
            "chunk_size": StageParameter(int, 1024, msg="Images read at once"),
            "weights": StageParameter(str, "", msg="Folder of trained weights; empty: the bundled"),
            "image_column": StageParameter(str, "image", msg="Column of images, nanomaggies"),
            "ebv_column": StageParameter(str, "ebv", msg="Column of the Milky Way's E(B-V), mag"),
            "bands": StageParameter(str, "ugriz", msg="Bands of the images, in order"),
            "pixel_scale": StageParameter(float, 0.396, msg="Arcsec per pixel"),
        }

        def open_model(self, tag="model", **kwargs):
            """Load the spectrograph of the option ``weights``."""
            from photospec import PhotoSpectrograph

            self.model = PhotoSpectrograph.load(self.config.weights or None)
            return self.model

        @classmethod
        def default_distribution_type(cls):
            """Say that these are posteriors: the training galaxies are their prior."""
            return DistributionType.posterior

        def _process_chunk(self, start, end, data, first):
            density = self.model.redshift_density(self._images(data))
            grid = np.linspace(self.config.zmin, self.config.zmax, self.config.nzbins)
            ensemble = density.to_qp(grid)
            unlike = ["out_of_distribution" in flags for flags in density.flags]
            ensemble.add_to_ancil({"out_of_distribution": np.array(unlike)})
            self._do_chunk_output(ensemble, start, end, first, data=data)

        def _images(self, data):
            from astropy import units as u
            from astropy.nddata import NDData

            column, config = self.config.image_column, self.config
            if column not in data:
                raise InputError(
                    f"input: expected a column {column} of images, got "
                    f"{', '.join(map(str, data))}; the option image_column names it"
                )
            images = np.asarray(data[column])
            ebv = np.asarray(data.get(config.ebv_column, np.full(len(images), np.nan)), float)
            meta = {"bands": config.bands, "pixel_scale": config.pixel_scale * u.arcsec}
            return [
                NDData(
                    image, unit=u.nmgy, meta=meta | ({"galactic_ebv": e} if np.isfinite(e) else {})
                )
                for image, e in zip(images, ebv.tolist(), strict=True)
            ]
