"""Candidates become rows of a table, some galaxies at a time."""

__all__ = ["CandidateTable"]

# Spectra that are measured together: enough to be worth the start of worker processes, few
# enough to hold.
_AT_ONCE = 256


class CandidateTable:
    """Measures all candidates, some hundred at a time, and keeps one row per galaxy.

    Parameters
    ----------
    count : callable
        Told how many spectra were just measured.
    method : str
        Of `photospec.analysis.measure_properties`.
    """

    def __init__(self, count, method="auto"):
        self._count, self._method = count, method
        self._waiting, self._tables = [], []

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
        from photospec.cli.tables import stack_rows

        self._measure()
        return stack_rows(self._tables)

    def _measure(self):
        from photospec.analysis import combine_candidates, measure_properties
        from photospec.analysis.candidates import said_of_agn

        if not self._waiting:
            return
        spectra = [candidates.spectra for candidates in self._waiting]
        best = [candidates.best_index for candidates in self._waiting]
        table = measure_properties(spectra, method=self._method, progress=self._count)
        self._tables.append(combine_candidates(table, best, **said_of_agn(spectra, len(best))))
        self._waiting.clear()
