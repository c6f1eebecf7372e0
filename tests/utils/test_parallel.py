"""Work in several processes: order, bounded look-ahead, workers that die."""

import math
import signal
import time

from photospec.utils.parallel import _AHEAD, _Worker, map_in_processes


def test_results_come_in_order_and_tasks_are_not_taken_far_ahead():
    taken = []

    def tasks():
        for i in range(40):
            taken.append(i)
            yield (i,)

    results = map_in_processes(math.factorial, tasks(), 2, None)
    assert next(results) == 1
    assert len(taken) <= 2 * _AHEAD  # what nobody took yet stays unmade: memory is bounded
    assert [1, *results] == [math.factorial(i) for i in range(40)]


def test_a_worker_that_dies_costs_its_own_task_only(monkeypatch):
    work = _Worker.__call__

    def die_at_three(self, task):
        if task[1] == (3,):
            self.process.kill()
        return work(self, task)

    monkeypatch.setattr(_Worker, "__call__", die_at_three)
    results = map_in_processes(math.factorial, [(i,) for i in range(6)], 2, lambda i: f"lost {i}")
    assert list(results) == [1, 1, 2, "lost 3", 24, 120]


def test_who_stops_early_waits_for_nobody(monkeypatch):
    workers, make = [], _Worker.__init__

    def made(self):
        workers.append(self)
        make(self)

    monkeypatch.setattr(_Worker, "__init__", made)
    tasks = [(0,), *[(600,)] * 5]
    results = map_in_processes(time.sleep, tasks, 2, lambda seconds: "ended")
    assert next(results) is None
    results.close()  # as Ctrl-C does in the caller
    assert {worker.process.returncode for worker in workers} == {-signal.SIGKILL}
