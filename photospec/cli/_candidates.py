"""Candidates become rows of a table, some galaxies at a time."""

__all__ = ["PER_SPECTRUM", "CandidateTable", "best_row"]

#: Entries of a prediction's ``meta`` with one value per spectrum.
PER_SPECTRUM = ("similarity", "flags", "galactic_ebv", "drawn_redshift", "expected_redshift")

# Spectra that are measured together: enough to be worth the start of worker processes, few
# enough to hold.
_AT_ONCE = 256


def best_row(candidates):
    """Candidate that stands for all, as a prediction for a sequence of one image.

    Parameters
    ----------
    candidates : CandidateSpectra
        Of one image.

    Returns
    -------
    specutils.Spectrum
        Flux (1, n_wave); what ``meta`` says of each spectrum (`PER_SPECTRUM`) in lists of one.
    """
    from specutils import Spectrum

    best = candidates.best
    lists = {name: [best.meta[name]] for name in PER_SPECTRUM if name in best.meta}
    return Spectrum(
        flux=best.flux[None],
        spectral_axis=best.spectral_axis,
        spectral_axis_index=-1,
        meta=dict(best.meta) | lists,
    )


class CandidateTable:
    """Measures all candidates, some hundred at a time, and keeps one row per galaxy.

    Parameters
    ----------
    bar : tqdm.tqdm
        Moves on by one when all candidates of a galaxy are measured.
    method : str
        Of `photospec.analysis.measure_properties`.
    """

    def __init__(self, bar, method="auto"):
        self._bar, self._method = bar, method
        self._waiting, self._tables = [], []
        self._n_measured = 0

    def add(self, candidates):
        """Take the candidates of one more galaxy; measure when enough are waiting.

        Parameters
        ----------
        candidates : CandidateSpectra
            As many as of the galaxies before.
        """
        self._waiting.append(candidates)
        if sum(map(len, self._waiting)) >= _AT_ONCE:
            self._measure()

    def table(self):
        """Measure what still waits; all rows as a table, in the order of the galaxies."""
        from astropy.table import vstack

        self._measure()
        return vstack(self._tables, metadata_conflicts="silent")

    def _measure(self):
        from photospec.analysis import combine_candidates, measure_properties

        if not self._waiting:
            return
        self._n_measured = 0
        self._bar.set_postfix_str("measuring the candidates")
        spectra = [candidates.spectra for candidates in self._waiting]
        best = [candidates.best_index for candidates in self._waiting]
        table = measure_properties(spectra, method=self._method, progress=self._count)
        threshold = spectra[0].meta.get("agn_threshold")
        self._tables.append(combine_candidates(table, best, agn_threshold=threshold))
        self._waiting.clear()
        self._bar.set_postfix_str("")

    def _count(self, n):
        """Count measured spectra as galaxies."""
        each = len(self._waiting[0])
        before = self._n_measured // each
        self._n_measured += n
        self._bar.update(self._n_measured // each - before)
