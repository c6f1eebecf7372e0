"""Definitions of spectral indices: a new index is one line.

Band limits are *air* wavelengths in Angstrom, as printed in the papers; the measurement
turns them to vacuum. Kinds: ``angstrom`` (atomic, an equivalent width), ``mag``
(molecular) and ``break`` (ratio of mean F_nu, red over blue).
"""

from dataclasses import dataclass

from photospec.errors import InputError

__all__ = ["BREAKS", "EXTRA", "INDICES", "LICK", "Index", "index_definitions"]


@dataclass(frozen=True)
class Index:
    """One spectral index.

    Attributes
    ----------
    name : str
        Short name, as in the column ``lick_<name>``.
    blue, band, red : tuple of float
        Limits of the blue side band, the index band and the red side band; Angstrom, air,
        rest frame. A break has no `band` (None).
    kind : str
        ``"angstrom"``, ``"mag"`` or ``"break"``.
    source : str
        Paper that defines it.

    Examples
    --------
    >>> from photospec.analysis import Index
    >>> wide = Index("mg_wide", blue=(5040, 5060), band=(5070, 5200), red=(5210, 5230))
    >>> wide.limits
    (5040, 5230)
    """

    name: str
    blue: tuple
    band: tuple | None
    red: tuple
    kind: str = "angstrom"
    source: str = ""

    def __post_init__(self):
        bands = [self.blue, self.red] + ([] if self.band is None else [self.band])
        if self.kind not in ("angstrom", "mag", "break") or (self.band is None) != (
            self.kind == "break"
        ):
            raise InputError(
                f"kind: expected 'angstrom' or 'mag' with a band, or 'break' without, got "
                f"{self.kind!r} for index {self.name!r}"
            )
        if any(len(band) != 2 or not band[0] < band[1] for band in bands):
            raise InputError(
                f"bands: expected (low, high) in Angstrom, got {bands} for index {self.name!r}; "
                "are two limits swapped?"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest wavelength needed, Angstrom, air."""
        edges = [*self.blue, *self.red, *(self.band or ())]
        return min(edges), max(edges)


T98 = "Trager et al. 1998, ApJS 116, 1 (refining Worthey et al. 1994, ApJS 94, 687)"
WO97 = "Worthey & Ottaviani 1997, ApJS 111, 377"
# Gizis has narrower bands; these are wider ones on the Lick system, which pyphot's list gives too.
G97 = "S. C. Trager, modified from Gizis 1997, AJ 113, 806"
S05 = "Serven, Worthey & Briley 2005, ApJ 627, 754"
CV09 = "Cervantes & Vazdekis 2009, MNRAS 392, 691"
LB13 = "La Barbera et al. 2013, MNRAS 433, 3017"
S14 = "Spiniello et al. 2014, MNRAS 438, 1483"
C01 = "Cenarro et al. 2001, MNRAS 326, 959 (side bands next to each line)"
B99 = "Balogh et al. 1999, ApJ 527, 54"
B83 = "Bruzual 1983, ApJ 273, 105"

A, M = "angstrom", "mag"
_LICK = (
    Index("cn1", (4080.125, 4117.625), (4142.125, 4177.125), (4244.125, 4284.125), M, T98),
    Index("cn2", (4083.875, 4096.375), (4142.125, 4177.125), (4244.125, 4284.125), M, T98),
    Index("ca4227", (4211.000, 4219.750), (4222.250, 4234.750), (4241.000, 4251.000), A, T98),
    Index("g4300", (4266.375, 4282.625), (4281.375, 4316.375), (4318.875, 4335.125), A, T98),
    Index("fe4383", (4359.125, 4370.375), (4369.125, 4420.375), (4442.875, 4455.375), A, T98),
    Index("ca4455", (4445.875, 4454.625), (4452.125, 4474.625), (4477.125, 4492.125), A, T98),
    Index("fe4531", (4504.250, 4514.250), (4514.250, 4559.250), (4560.500, 4579.250), A, T98),
    Index("fe4668", (4611.500, 4630.250), (4634.000, 4720.250), (4742.750, 4756.500), A, T98),
    Index("hbeta", (4827.875, 4847.875), (4847.875, 4876.625), (4876.625, 4891.625), A, T98),
    Index("fe5015", (4946.500, 4977.750), (4977.750, 5054.000), (5054.000, 5065.250), A, T98),
    Index("mg1", (4895.125, 4957.625), (5069.125, 5134.125), (5301.125, 5366.125), M, T98),
    Index("mg2", (4895.125, 4957.625), (5154.125, 5196.625), (5301.125, 5366.125), M, T98),
    Index("mgb", (5142.625, 5161.375), (5160.125, 5192.625), (5191.375, 5206.375), A, T98),
    Index("fe5270", (5233.150, 5248.150), (5245.650, 5285.650), (5285.650, 5318.150), A, T98),
    Index("fe5335", (5304.625, 5315.875), (5312.125, 5352.125), (5353.375, 5363.375), A, T98),
    Index("fe5406", (5376.250, 5387.500), (5387.500, 5415.000), (5415.000, 5425.000), A, T98),
    Index("fe5709", (5672.875, 5696.625), (5696.625, 5720.375), (5722.875, 5736.625), A, T98),
    Index("fe5782", (5765.375, 5775.375), (5776.625, 5796.625), (5797.875, 5811.625), A, T98),
    Index("nad", (5860.625, 5875.625), (5876.875, 5909.375), (5922.125, 5948.125), A, T98),
    Index("tio1", (5816.625, 5849.125), (5936.625, 5994.125), (6038.625, 6103.625), M, T98),
    Index("tio2", (6066.625, 6141.625), (6189.625, 6272.125), (6372.625, 6415.125), M, T98),
    Index("hdelta_a", (4041.600, 4079.750), (4083.500, 4122.250), (4128.500, 4161.000), A, WO97),
    Index("hgamma_a", (4283.500, 4319.750), (4319.750, 4363.500), (4367.250, 4419.750), A, WO97),
    Index("hdelta_f", (4057.250, 4088.500), (4091.000, 4112.250), (4114.750, 4137.250), A, WO97),
    Index("hgamma_f", (4283.500, 4319.750), (4331.250, 4352.250), (4354.750, 4384.750), A, WO97),
)
_BREAKS = (
    Index("dn4000", (3850.0, 3950.0), None, (4000.0, 4100.0), "break", B99),
    Index("d4000", (3750.0, 3950.0), None, (4050.0, 4250.0), "break", B83),
)
_EXTRA = (
    Index("oii_3727", (3653.00, 3713.00), (3713.00, 3741.00), (3741.00, 3801.00), A, B99),
    Index("cahk", (3806.50, 3833.80), (3899.50, 4003.50), (4020.70, 4052.40), A, S05),
    Index("hbeta_o", (4821.175, 4838.404), (4839.275, 4877.097), (4897.445, 4915.845), A, CV09),
    Index("mg4780", (4738.91, 4757.31), (4760.78, 4798.80), (4819.78, 4835.51), A, S05),
    Index("btio", (4742.750, 4756.500), (4758.500, 4800.000), (4827.875, 4847.875), M, S14),
    Index("atio", (5420.000, 5442.000), (5445.000, 5600.000), (5630.000, 5655.000), M, S14),
    Index("cah1", (6342.125, 6356.500), (6357.500, 6401.750), (6408.500, 6429.750), M, S14),
    Index("cah2", (6510.000, 6539.250), (6775.000, 6900.000), (7017.000, 7064.000), M, S14),
    Index("tio3", (7017.000, 7064.000), (7123.750, 7162.500), (7234.000, 7269.000), M, G97),
    Index("tio4", (7527.000, 7577.750), (7643.250, 7717.250), (7735.500, 7782.750), M, G97),
    Index("nai_8190", (8143.000, 8153.000), (8180.000, 8200.000), (8233.000, 8244.000), A, LB13),
    Index("cat1", (8474.000, 8484.000), (8484.000, 8513.000), (8563.000, 8577.000), A, C01),
    Index("cat2", (8474.000, 8484.000), (8522.000, 8562.000), (8563.000, 8577.000), A, C01),
    Index("cat3", (8619.000, 8642.000), (8642.000, 8682.000), (8700.000, 8725.000), A, C01),
)

#: Every index known by name.
INDICES = {index.name: index for index in (*_LICK, *_BREAKS, *_EXTRA)}
#: The 21 Lick/IDS indices and the four Balmer indices of Worthey & Ottaviani.
LICK = tuple(index.name for index in _LICK)
#: Breaks at 4000 Angstrom.
BREAKS = tuple(index.name for index in _BREAKS)
#: Further indices.
EXTRA = tuple(index.name for index in _EXTRA)


def index_definitions(indices):
    """Turn names and definitions into definitions.

    Parameters
    ----------
    indices : str, Index, or sequence of these

    Returns
    -------
    tuple of Index

    Raises
    ------
    InputError
        If a name is not known.
    """
    found = []
    for item in [indices] if isinstance(indices, str | Index) else indices:
        if not isinstance(item, Index) and item not in INDICES:
            raise InputError(
                f"indices: expected names among {', '.join(INDICES)}, or Index(...), got {item!r}"
            )
        found.append(item if isinstance(item, Index) else INDICES[item])
    return tuple(found)
