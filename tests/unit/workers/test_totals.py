"""Metrics and stats of several workers as one."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from likewise.workers.totals import total_metrics, total_stats

TEXT = """# HELP likewise_requests_total Answers
# TYPE likewise_requests_total counter
likewise_requests_total{function="f@1",outcome="hit"} %d.0
# HELP likewise_stage_seconds Latency
# TYPE likewise_stage_seconds histogram
likewise_stage_seconds_bucket{function="f@1",le="0.1"} %d.0
likewise_stage_seconds_bucket{function="f@1",le="+Inf"} %d.0
likewise_stage_seconds_count{function="f@1"} %d.0
likewise_stage_seconds_sum{function="f@1"} 0.5
# HELP likewise_bar Bar
# TYPE likewise_bar gauge
likewise_bar{function="f@1"} %d.0
"""


def test_counters_and_histograms_add_up_and_gauges_keep_their_worker() -> None:
    """Also where one worker has counted what the other has not."""
    extra = TEXT % (1, 1, 2, 2, 7) + "".join(
        ("# TYPE likewise_problems_total counter\n", 'likewise_problems_total{function="f@1",slug="x"} 4.0\n')
    )
    text = total_metrics({0: (TEXT % (3, 2, 3, 3, 5)).encode(), 1: extra.encode()}).decode()
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    function = ("function", "f@1")
    assert values["likewise_requests_total", function, ("outcome", "hit")] == 4
    assert values["likewise_stage_seconds_bucket", function, ("le", "0.1")] == 3
    assert values["likewise_stage_seconds_bucket", function, ("le", "+Inf")] == 5
    assert values["likewise_stage_seconds_count", function] == 5
    assert values["likewise_stage_seconds_sum", function] == 1.0
    assert values["likewise_problems_total", function, ("slug", "x")] == 4
    assert values["likewise_bar", function, ("worker", "0")] == 5
    assert values["likewise_bar", function, ("worker", "1")] == 7
    assert len(values) == 8


def test_stats_add_up_by_function() -> None:
    """Sums of what is counted, the largest of what both hold, the hit rate of all requests together."""

    def document(pid: int, hits: int, misses: int, entries: int, up: float) -> dict:
        numbers = {
            "policy": "fixed",
            "outcomes": {"hit": hits, "miss": misses, "bypass": 1},
            "bypassed": 1,
            "problems": {"overloaded": 1} if pid == 1 else {},
            "hit_rate": hits / (hits + misses),
            "entries": entries,
            "accuracy_target": 0.95,
            "estimated_accuracy": 0.9 if pid == 1 else None,
            "tokens": 2.0,
        }
        return {"pid": pid, "uptime_s": 1.0, "functions": {"f@1": numbers}, "journal": {"up": up, "written": 5}}

    total = total_stats([document(1, 90, 10, 7, 1.0), document(2, 0, 100, 9, 0.0)])
    function = total["functions"]["f@1"]
    assert function["outcomes"] == {"hit": 90, "miss": 110, "bypass": 2}
    assert function["hit_rate"] == 0.45
    assert (function["entries"], function["tokens"], function["accuracy_target"]) == (9, 4.0, 0.95)
    assert (function["estimated_accuracy"], function["policy"]) == (0.9, "fixed")
    assert function["problems"] == {"overloaded": 1}
    assert total["journal"] == {"up": 0.0, "written": 10}
    assert [each["pid"] for each in total["workers"]] == [1, 2]
    assert total["pid"] == 1
