"""The gateway's own metrics: counted in each worker in well under a microsecond, shown once for all of them.

A request adds to a `Tally`, a plain record of numbers (`tally`). What is rare is counted by prometheus_client
(`series`). Both together are a `Report` (`report`), which adds up with those of other workers and is shown in
Prometheus' text format. Where several processes make one gateway, workers hand their reports to the parent, and the
parent shows the sum (`link`).

Label sets are closed: tasks from the settings, everything else from an enumeration or from what was registered at the
start. What is none of them is counted as `other`.
"""

from router.metrics.link import MetricsHub, Reporter
from router.metrics.report import CONTENT_TYPE, Report, merge, render
from router.metrics.series import Metrics
from router.metrics.tally import OTHER, StreamTally, Tally

__all__ = [
    "CONTENT_TYPE",
    "OTHER",
    "Metrics",
    "MetricsHub",
    "Report",
    "Reporter",
    "StreamTally",
    "Tally",
    "merge",
    "render",
]
