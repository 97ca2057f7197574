"""A shape for locustfile.py: users come in steps, all of them stay for a while, half of them go.

`--users` is the peak and `--run-time` the whole, as for any run: given beside locustfile.py, `-f A.py,ramp.py`.
"""

from __future__ import annotations

from locust import LoadTestShape

STAGES = ((0.15, 0.25), (0.3, 0.5), (0.45, 0.75), (0.85, 1.0), (1.0, 0.5))
"""Until which share of the time, and which share of the users."""


class Ramp(LoadTestShape):
    """Rises in four steps, stays at its peak, falls."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return (users, users that come or go in a second) for now; None at the end."""
        options = self.runner.environment.parsed_options
        whole_s = options.run_time or 120
        passed = self.get_run_time() / whole_s
        for until, share in STAGES:
            if passed < until:
                return max(1, round(share * (options.num_users or 16))), float(options.spawn_rate or 16)
        return None
