"""How soon a running export is polled again.

A small export is ready within seconds, a large one takes an hour. So a young job is polled soon, and then less and
less often: each wait is half of the job's age, from ``first_poll`` up to ``poll_interval``. A job that takes ten
seconds is noticed at most five seconds late. This costs about nine more requests for each job, all of them within its
first minute. pyTenable's own iterator (``ExportsIterator``) begins in the same way: it polls after 2, 3, 4 ... 30
seconds.
"""

from __future__ import annotations

#: The wait as a share of the job's age.
_SHARE_OF_AGE = 0.5
#: By what a wait is longer than the one before it: after a wait of half its age, a job is half as old again.
GROWTH = 1 + _SHARE_OF_AGE


def wait_for(age: float, *, first_poll: float, poll_interval: float) -> float:
    """Seconds until a running job is polled again.

    :param age: seconds since the job was requested. Below 0 if a clock was set back in between: as 0.
    :param first_poll: the shortest wait. Not below ``poll_interval``: the job is polled evenly.
    :param poll_interval: the longest wait.
    """
    return min(poll_interval, max(first_poll, age * _SHARE_OF_AGE))


def longer(wait: float, *, poll_interval: float) -> float:
    """The wait after ``wait``, for a caller that does not know the job's age."""
    return min(poll_interval, wait * GROWTH)
