"""What the daemon says of itself when a client asks for `status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgestem.daemon.system.process import rss_bytes
from edgestem.version import __version__
from edgestem.wire.protocol import VERSION

if TYPE_CHECKING:
    from edgestem.daemon.server import Daemon


def describe(daemon: Daemon, uptime_s: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the payload of `status`."""
    sessions = [session.describe() for session in daemon.sessions()]
    jobs = daemon.jobs.all()
    streams = [s["stream"] for s in sessions if s["stream"]]
    engine = daemon.engine
    summary = {
        "protocol": VERSION,
        "server": f"edgestem {__version__}",
        "uptime_s": round(uptime_s, 1),
        "device": engine.device,
        "runtime": engine.runtime,
        "slots": engine.scheduler.n_slots,
        "live_load": round(engine.admission.load, 4),
        "n_waiting_calls": engine.scheduler.n_waiting(),
        "n_clients": len(sessions),
        "n_served": daemon.n_served,
        "n_streams": len(streams),
        "n_jobs": len(jobs),
        "n_xruns": daemon.n_xruns,
        "last_hop_ms": max((s["last_hop_ms"] for s in streams), default=0),
        "peak_hop_ms": max((s["peak_hop_ms"] for s in streams), default=0),
        "cache_bytes": daemon.cache.size() if daemon.cache else 0,
        "rss_bytes": rss_bytes(),
    }
    return summary, {
        "sessions": sessions,
        "jobs": [
            {"job": j.number, "state": j.state, "percent": j.percent} for j in jobs
        ],
    }
