"""What a survey computes, and the columns that hold it: names, types, units, meaning."""

from dataclasses import dataclass

import nested_pandas as npd
import numpy as np
import pandas as pd
import pyarrow as pa

from photospec.errors import InputError

__all__ = [
    "OF_ALL_CANDIDATES",
    "QUANTILES",
    "WHAT",
    "Column",
    "SurveySettings",
    "all_columns",
    "empty_frame",
    "kept_columns",
    "new_columns",
    "rounded",
]

#: What can be computed, each more than the one before.
WHAT = ("photoz", "predict", "measure")
_SPECTRA = ("none", "best", "all")
#: Quantiles of the redshift density -> probability below them: 1 and 2 sigma and the median.
QUANTILES = {
    "redshift_q02": 0.0228,
    "redshift_q16": 0.1587,
    "redshift_q50": 0.5,
    "redshift_q84": 0.8413,
    "redshift_q98": 0.9772,
}
#: Columns of what all candidates, or the image, say of a galaxy's class -> meaning.
OF_ALL_CANDIDATES = {
    "bpt_class_probability": "Fraction of the candidates with a class that have this one",
    "agn_score": "Natural logarithm of the odds of an AGN, told from the image; with weights that "
    "do not tell, mean height (dex) of the candidates' lines above the SDSS curve",
    "agn": "Whether agn_score is above the threshold of the weights",
    "agn_probability": "Probability of an AGN among all galaxies, where the weights tell it",
}
_MIXTURE = pa.struct([(name, pa.list_(pa.float64())) for name in ("weight", "centre", "width")])
_SPECTRUM = pa.struct(
    [
        ("candidate", pa.list_(pa.int16())),
        ("wavelength", pa.list_(pa.float32())),
        ("flux", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class SurveySettings:
    """What to compute; small, and sent to every worker.

    Attributes
    ----------
    what : {"photoz", "predict", "measure"}
        Redshift densities alone; with spectra; with the properties of all candidates too.
    n_candidates : int, optional
        Per image; the weights' default if not given.
    seed : int
    spectra : {"none", "best", "all"}, optional
        Which candidates' spectra go into the nested column ``spectra``; by default the best for
        "predict" and none otherwise.
    precision : float
        Largest relative error of those spectra. Digits beyond are put to zero, which compresses
        well; 0 keeps them all.
    identifier : str
        Column of identifiers, which decide the noise of each image.
    ra, dec : str
        Columns of positions.
    keep : tuple of str
        Further columns of the input that go to the output.
    """

    what: str = "predict"
    n_candidates: int | None = None
    seed: int = 0
    spectra: str | None = None
    precision: float = 1e-3
    identifier: str = "image"
    ra: str = "ra"
    dec: str = "dec"
    keep: tuple = ()

    def __post_init__(self):
        if self.what not in WHAT:
            raise InputError(f"what: expected one of {', '.join(WHAT)}, got {self.what!r}")
        if self.spectra is None:
            object.__setattr__(self, "spectra", "best" if self.what == "predict" else "none")
        if self.spectra not in _SPECTRA:
            raise InputError(
                f"spectra: expected one of {', '.join(_SPECTRA)}, got {self.spectra!r}"
            )
        if self.what == "photoz" and self.spectra != "none":
            raise InputError(
                f"spectra: expected none with what='photoz', which draws no spectra, got "
                f"{self.spectra!r}"
            )
        if not 0 <= self.precision < 0.1:
            raise InputError(f"precision: expected a number from 0 to 0.1, got {self.precision!r}")


@dataclass(frozen=True)
class Column:
    """One column of the output."""

    name: str
    type: pa.DataType
    unit: str
    description: str

    @property
    def dtype(self):
        """As pandas knows it."""
        if pa.types.is_struct(self.type):
            return npd.NestedDtype(self.type)
        return pd.ArrowDtype(self.type)

    @property
    def metadata(self):
        """As an Arrow field carries it."""
        return {"unit": self.unit, "description": self.description}


def new_columns(settings):
    """Return columns that a survey adds to its input.

    Parameters
    ----------
    settings : SurveySettings

    Returns
    -------
    list of Column
    """
    number, text = pa.float64(), pa.string()
    columns = [
        Column("redshift_mean", number, "", "Mean of the photometric redshift density"),
        Column("redshift_std", number, "", "Standard deviation of the redshift density"),
        Column("redshift_mode", number, "", "Redshift of the highest density"),
    ]
    for name, probability in QUANTILES.items():
        text_of = f"Redshift below which {probability:g} of the probability lies"
        columns.append(Column(name, number, "", text_of))
    columns.append(
        Column(
            "redshift_mixture",
            _MIXTURE,
            "",
            "Redshift density: Gaussians in ln(1 + redshift), their weights, centres and widths; "
            "truncated to redshifts from 0 to 0.6",
        )
    )
    columns.append(
        Column("ood_score", number, "", "How unlike the training images; above 1 is flagged")
    )
    if settings.what != "photoz":
        columns.append(
            Column(
                "similarity", number, "", "Cosine of image and spectrum embeddings, best spectrum"
            )
        )
        columns.append(
            Column("redshift_drawn", number, "", "Redshift at which the best spectrum was drawn")
        )
    if settings.what == "measure":
        columns += _measured()
    columns.append(
        Column("flags", text, "", "Warnings, separated by semicolons; 'unusable' gives the reason")
    )
    if settings.spectra != "none":
        columns.append(
            Column(
                "spectra",
                _SPECTRUM,
                "1e-17 erg / (s cm2 Angstrom); wavelength: Angstrom",
                "Predicted spectra through a 3 arcsec fibre; wavelength in vacuum, observed frame",
            )
        )
    return columns


def all_columns(settings):
    """Return columns of the output: identifier, position, and `new_columns`.

    Parameters
    ----------
    settings : SurveySettings

    Returns
    -------
    list of Column
    """
    number = pa.float64()
    return [
        Column("image", pa.string(), "", "Identifier of the image: its file's name, or as given"),
        Column(settings.ra, number, "deg", "Right ascension, ICRS"),
        Column(settings.dec, number, "deg", "Declination, ICRS"),
        *(Column(name, pa.null(), "as in the input", "As in the input") for name in settings.keep),
        *new_columns(settings),
    ]


def _measured():
    """Return columns of measured properties."""
    from photospec.analysis.properties import COLUMNS

    found = []
    for name, unit in COLUMNS.items():
        unit = "" if unit is None else unit.to_string()
        text = f"Measured {name.replace('_', ' ')} of the best spectrum"
        # The photometric redshift is called redshift_mean.
        name = "redshift_spectrum" if name == "redshift" else name
        found.append(Column(name, pa.float64(), unit, text))
        text = f"Standard deviation of {name}: of the prediction, from all candidates"
        found.append(Column(f"{name}_error", pa.float64(), unit, text))
    text = "Class by emission-line ratios (Baldwin, Phillips & Terlevich 1981)"
    found.append(Column("bpt_class", pa.string(), "", text))
    for name, text in OF_ALL_CANDIDATES.items():
        kind = pa.bool_() if name == "agn" else pa.float64()
        found.append(Column(name, kind, "", text))
    return found


def empty_frame(frame, settings):
    """Return the output of no rows, with the types of all columns.

    Parameters
    ----------
    frame : NestedFrame
        Input partition, of any length.
    settings : SurveySettings

    Returns
    -------
    NestedFrame
    """
    kept = kept_columns(frame.columns, settings)
    made = npd.NestedFrame(frame.iloc[:0][kept])
    if settings.identifier not in made.columns:
        raise InputError(
            f"catalogue: expected a column {settings.identifier!r} of identifiers, got "
            f"{', '.join(map(str, frame.columns))}"
        )
    made = made.rename(columns={settings.identifier: "image"})
    made["image"] = made["image"].astype(pd.ArrowDtype(pa.string()))
    for column in new_columns(settings):
        made[column.name] = pd.Series([], index=made.index, dtype=column.dtype)
    return npd.NestedFrame(made)


def kept_columns(names, settings):
    """Return columns of the input that go to the output, in its order."""
    wanted = (settings.identifier, settings.ra, settings.dec, *settings.keep)
    return [name for name in names if name in wanted]


def rounded(flux, precision):
    """Round float32 fluxes to as few digits as the precision leaves.

    Parameters
    ----------
    flux : ndarray
    precision : float
        Largest relative error; 0 for all digits.

    Returns
    -------
    ndarray of float32
    """
    flux = np.ascontiguousarray(flux, np.float32)
    if precision <= 0:
        return flux
    # Rounding to b bits after the leading one is wrong by at most 2^-(b + 1).
    bits = max(0, int(np.ceil(-np.log2(precision))) - 1)
    drop = np.uint32(max(0, 23 - bits))
    if not drop:
        return flux
    whole = flux.view(np.uint32)
    half = np.uint32(1 << (int(drop) - 1))
    kept = ((whole + half) >> drop) << drop
    return np.where(np.isfinite(flux), kept.view(np.float32), flux)
