"""Images made to be strange are, and are counted as what they are flagged."""

import numpy as np

from photospec.evaluation.ood import ood_card, unusual_images
from photospec.simulation import Survey


def test_every_kind_is_what_its_name_says(pairs):
    ordinary = pairs.image(slice(0, 6))
    made = dict(unusual_images(Survey.sdss_main(), ordinary, n=4))
    assert len(made) == 13
    for kind, images in made.items():
        assert images.shape == (4, 5, 64, 64), kind
        assert np.isfinite(images).all(), kind
    core = made["M dwarfs"][:, :, 30:35, 30:35].sum(axis=(2, 3))
    assert np.all(core[:, 4] > 3 * core[:, 1])  # red
    star = made["quasars"][:, 2]
    assert np.all(star[:, 26:39, 26:39].sum(axis=(1, 2)) > 0.8 * star.sum(axis=(1, 2)))
    flat = made["saturated cores"][:, 2]
    assert np.all([(one == one.max()).sum() > 1 for one in flat])
    galaxies = made["galaxies at z = 0.45"][:, 2, 28:37, 28:37].sum(axis=(1, 2))
    assert np.all(galaxies > 0.5)


def test_flags_are_counted(oracle, pairs, tmp_path):
    section = ood_card(oracle, pairs.image(), n=3, folder=tmp_path)
    found = {row["images"]: row for row in section.rows}
    assert found["ordinary galaxies (false alarms)"]["flagged"].value == 0
    assert found["quasars"]["flagged"].value == 1
    assert found["quasars"]["number"] == 3
    again = ood_card(oracle, pairs.image(), n=3, folder=tmp_path)
    assert [r["flagged"] for r in again.rows] == [r["flagged"] for r in section.rows]
