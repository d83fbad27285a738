"""What the daemon says of itself when a client asks for `status`."""

from __future__ import annotations

import time
from typing import Any

from edgestem.daemon.shared import Shared
from edgestem.daemon.system.process import rss_bytes
from edgestem.version import __version__
from edgestem.wire.protocol import VERSION


def describe(shared: Shared) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the payload of `status`."""
    sessions = [session.describe() for session in shared.sessions()]
    jobs = shared.jobs.all()
    streams = [s["stream"] for s in sessions if s["stream"]]
    engine = shared.engine
    summary = {
        "protocol": VERSION,
        "server": f"edgestem {__version__}",
        "uptime_s": round(time.monotonic() - shared.started, 1),
        "device": engine.device,
        "runtime": engine.runtime,
        "slots": engine.scheduler.n_slots,
        "live_load": round(engine.admission.load, 4),
        "n_waiting_calls": engine.scheduler.n_waiting(),
        "n_clients": len(sessions),
        "n_served": shared.n_served,
        "n_requests": shared.n_requests(),
        "n_streams": len(streams),
        "n_jobs": len(jobs),
        "n_xruns": shared.n_xruns,
        "last_hop_ms": max((s["last_hop_ms"] for s in streams), default=0),
        "peak_hop_ms": max((s["peak_hop_ms"] for s in streams), default=0),
        "cache_bytes": shared.cache.size() if shared.cache else 0,
        "rss_bytes": rss_bytes(),
    }
    return summary, {
        "sessions": sessions,
        "jobs": [
            {"job": j.number, "state": j.state, "percent": j.percent} for j in jobs
        ],
    }
