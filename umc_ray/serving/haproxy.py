"""HAProxy before the replicas instead of Serve's own proxy, which is written in Python.

A request then costs 1 ms of processor time instead of 8, and the rest is the model's. What would
wait too long is refused before Serve has work with it.
"""

import socket
from contextlib import ExitStack

HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
"""Environment variable of all nodes' Ray; Serve reads it when it starts."""


def haproxy_settings(folder: str) -> dict[str, str]:
    """Return the environment in which Ray must be started, or a node's Ray, to use HAProxy.

    What it keeps is in `folder`: whoever may write there may stop it. It counts requests at two
    more ports, of all interfaces: they are free ones, so that several can run on one machine.
    """
    with ExitStack() as taken:
        stats, metrics, fallback = (_free_port(taken) for _ in range(3))
    return {
        HAPROXY: "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "umc_ray.serving.shedding:middlewares",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
    }


def _free_port(taken: ExitStack) -> int:
    probe = taken.enter_context(socket.socket())
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    return port
