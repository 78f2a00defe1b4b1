"""What `peers.py` asks for a picture of the page: of zaidash, and of what speaks PromQL.

A picture is one time range with all panels of `frontend/src/panels` for both variants, as a page of
1440 pixels asks for it, and the figures above them. `zaidash_paths` and `panel_queries` draw the
same lines with the same number of points; `figure_queries` are the totals of the whole window and
of the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

#: Rows that a chart of the page asks for at most: as many as it has pixels, in hundreds.
POINTS = 700

#: Fields that the page fetches together; `FIELD_GROUPS` of `frontend/src/panels/spec.ts`.
FIELD_GROUPS: Mapping[str, Sequence[str]] = {
    "numbers": (
        "elapsed_s",
        "req_rate",
        "token_rate_in",
        "token_rate_out",
        "token_rate_cache_read",
        "token_rate_cache_write",
        "rate_limit_rejection_rate",
        "rate_limit_adj_increase_rate",
        "rate_limit_adj_decrease_rate",
        "upstream_error_rate",
        "retry_rate",
        "error_rate_pct",
        "latency_p50",
        "latency_p95",
        "latency_p99",
        "concurrent_requests",
        "max_workers",
        "worker_utilization",
        "rate_limit_rps",
        "request_size_avg",
        "response_size_avg",
    ),
    "codes": ("elapsed_s", "status_code_rates"),
    "buckets": ("latency_buckets",),
}

#: What is over RATE_WINDOW in a snapshot is over no less in PromQL.
RATE_WINDOW_S = 60
MINUTE_S = 60
HOUR_S = 3_600
QUANTILES = (0.5, 0.95, 0.99)

#: Only these variants: a job is a variant.
JOBS = 'job=~"production|canary"'


class Picture(NamedTuple):
    """A time range of the page."""

    name: str
    seconds: int
    interval_s: int

    @property
    def step_s(self) -> int:
        """Width of a row, as `planHistory` of the page has it."""
        base_s = self.interval_s if self.seconds <= HOUR_S else MINUTE_S
        return math.ceil(self.seconds / POINTS / base_s) * base_s

    @property
    def rate_s(self) -> int:
        """Window of a rate, as Grafana's `$__rate_interval` has it."""
        return max(self.step_s + self.interval_s, 4 * self.interval_s)


def zaidash_chart_paths(picture: Picture) -> list[str]:
    return [
        f"/api/metrics?range={picture.name}&format=columns&points={POINTS}&fields={','.join(group)}"
        for group in FIELD_GROUPS.values()
    ]


def zaidash_figure_paths(picture: Picture) -> list[str]:
    return [f"/api/summary?range={picture.name}"]


def panel_queries(picture: Picture) -> dict[str, list[str]]:
    """Return the expressions that draw each panel, by its id in `frontend/src/panels`."""
    window = f"{picture.rate_s}s"
    smooth = f"{max(picture.rate_s, RATE_WINDOW_S)}s"
    return {
        "requests": [by("status_code", rate("requests_total", window))],
        "tokens": [by("direction", rate("tokens_total", window))],
        "latency": [quantile(q, smooth) for q in QUANTILES],
        "heat-map": [by("le", f"increase({series('request_duration_seconds_bucket')}"
                              f"[{picture.step_s}s])")],
        "errors": [
            error_share(smooth),
            by("", rate("upstream_errors_total", window)),
            by("", rate("retry_attempts_total", window)),
        ],
        "concurrency": [
            by("", series("concurrent_requests")),
            by("", series("max_workers")),
            by("", series("worker_utilization_ratio")),
        ],
        "rate-limit": [
            by("", series("rate_limit_requests_per_second")),
            by("", rate("requests_total", window)),
            by("", rate("rate_limit_rejections_total", window)),
            by("direction", rate("rate_limit_adjustments_total", window)),
        ],
        "sizes": [
            f"{by('', rate(f'{size}_size_bytes_sum', smooth))}"
            f" / {by('', rate(f'{size}_size_bytes_count', smooth))}"
            for size in ("request", "response")
        ],
    }  # fmt: skip


def figure_queries(picture: Picture, has_before: bool) -> list[str]:
    """Return the expressions of the figures, each over a whole window, and over the one before."""
    window = f"{picture.seconds}s"
    found = []
    for offset in ("", f" offset {window}") if has_before else ("",):
        found += [
            by("status_code", increase("requests_total", window, offset)),
            by("direction", increase("tokens_total", window, offset)),
            *(quantile(q, window, offset) for q in QUANTILES),
            *(by("", f"avg_over_time({series(gauge)}[{window}]{offset})") for gauge in (
                "concurrent_requests", "max_workers", "worker_utilization_ratio",
                "rate_limit_requests_per_second")),
        ]  # fmt: skip
    return found


def range_path(query: str, picture: Picture, now_s: float) -> str:
    """Return the request of as many points as the page has rows; on multiples of the step."""
    end_s = int(now_s) // picture.step_s * picture.step_s
    # The row that is cut off at the window's begin is one more.
    start_s = end_s - picture.seconds // picture.step_s * picture.step_s
    parameters = {"query": query, "start": start_s, "end": end_s, "step": picture.step_s}
    return f"/api/v1/query_range?{urlencode(parameters)}"


def instant_path(query: str, now_s: float) -> str:
    return f"/api/v1/query?{urlencode({'query': query, 'time': f'{now_s:.3f}'})}"


# --------------------------------------------------------------------------------------
# PromQL
# --------------------------------------------------------------------------------------


def series(name: str, matchers: str = "") -> str:
    return f"zai_proxy_{name}{{{JOBS}{matchers}}}"


def by(label: str, expression: str) -> str:
    return f"sum by ({f'job, {label}' if label else 'job'}) ({expression})"


def rate(name: str, window: str, matchers: str = "", offset: str = "") -> str:
    return f"rate({series(name, matchers)}[{window}]{offset})"


def increase(name: str, window: str, offset: str) -> str:
    return f"increase({series(name)}[{window}]{offset})"


def quantile(q: float, window: str, offset: str = "") -> str:
    buckets = by("le", rate("request_duration_seconds_bucket", window, offset=offset))
    return f"1000 * histogram_quantile({q}, {buckets})"


def error_share(window: str) -> str:
    failures = by("", rate("requests_total", window, ',status_code=~"5.."'))
    return f"100 * {failures} / {by('', rate('requests_total', window))}"
