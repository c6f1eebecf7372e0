"""Settings of which pairs are learnt from, and how."""

from dataclasses import dataclass

from photospec.training.settings_common import explained, require

__all__ = ["SELECTIONS", "SPLITS", "WEIGHTS", "DataSettings"]

SELECTIONS = ("all", "usable", "positive")
SPLITS = ("end", "random")
WEIGHTS = ("mask", "ivar", "none")


@dataclass(frozen=True)
class DataSettings:
    """Which pairs are learnt from, and how."""

    selection: str = explained(
        "all",
        "all: a pair that cannot be used (no light, not finite, masked throughout) is an error;\n"
        "usable: such pairs are left out; positive: so are those whose spectrum is not positive\n"
        "everywhere (published).",
        choices=SELECTIONS,
    )
    split: str = explained(
        "end",
        "end: the last validation_pairs of the first file are for validation; random (published):\n"
        "test_fraction of all pairs and validation_pairs more are held out at random, by the\n"
        "seed of the split, the latter for validation.",
        choices=SPLITS,
    )
    test_fraction: float = explained(
        0.1, "random split: part of the pairs kept for tests.", min=0, max=0.9
    )
    split_seed: int = explained(0, "random split: the same seed, the same split.", min=0)
    weights: str = explained(
        "mask",
        "Bins of observed spectra in the loss. mask: bad bins (ivar 0) are bridged and do not\n"
        "count; ivar: noisy bins count less, too; none: all alike, as they are (published).",
        choices=WEIGHTS,
    )
    flips: bool = explained(True, "augment: mirror images.")
    rotations: bool = explained(True, "augment: turn images by quarters (published: false).")
    crop: int = explained(
        0,
        "augment: largest shift of a random crop, pixels, the edge continued; published networks\n"
        "crop to 64 from images enlarged to 71 pixels, where 4 is the published value.",
        min=0,
        max=16,
    )
    each_image: bool = explained(
        False, "augment: every image of a batch in its own way (published), not all alike."
    )

    def __post_init__(self):
        for name, known in (("selection", SELECTIONS), ("split", SPLITS), ("weights", WEIGHTS)):
            require(getattr(self, name) in known, name, ", ".join(known), getattr(self, name))
