"""The same galaxies on any machine: numerical threads change nothing."""

import numpy as np
from threadpoolctl import threadpool_limits

from photospec.simulation import Survey


def test_number_of_threads_changes_no_bit():
    batches = []
    for n_threads in (1, 2):
        with threadpool_limits(limits=n_threads, user_api="blas"):
            batches.append(Survey.sdss_main(seed=21).simulate(64))
    for name in ("image", "flux", "ivar", "truth_flux"):
        one, two = (getattr(batch, name) for batch in batches)
        np.testing.assert_array_equal(one, two)
