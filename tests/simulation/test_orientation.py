"""Position angles of the truth against the light of the images."""

import numpy as np


def test_position_angles_run_from_north_through_east(batch):
    """North is up and east is left: an angle of 45 degrees leans to the upper left."""
    truth = batch.truth
    alone = (truth["n_neighbours"] == 0) & (truth["companion_flux_ratio"] == 0)
    long = (truth["disk_axis_ratio"] < 0.5) & (truth["bulge_light_fraction_r"] < 0.4)
    chosen = np.flatnonzero(alone & long & (truth["disk_radius"] > 1.2))
    assert len(chosen) >= 5
    y, x = np.indices(batch.truth_image.shape[-2:])
    for i in chosen:
        light = np.clip(batch.truth_image[i, 2].astype(float), 0, None)
        light = light / light.sum()
        east = -(x - (light * x).sum())
        north = y - (light * y).sum()
        angle = 0.5 * np.degrees(
            np.arctan2(2 * (light * east * north).sum(), (light * (north**2 - east**2)).sum())
        )
        difference = (angle - truth["disk_position_angle"][i] + 90) % 180 - 90
        assert abs(difference) < 12
