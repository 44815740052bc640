"""Less work for Python's garbage collector in processes that load much and then live for minutes.

Looking for cycles among everything that Airflow or a server has loaded takes a sixth of a test run's CPU, and finds
next to nothing.
"""

import gc

#: New objects per search, and how many searches until the next older generation is searched too. Python's own: 700, 10,
#: 10.
THRESHOLDS = (50_000, 50, 100)


def collect_rarely() -> None:
    """Leave alone what is there now, and search the rest less often. A forked child inherits both."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
