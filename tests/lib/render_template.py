"""The script of a template of render processes (`forking.py`, `forked_renderers.py`).

A fork runs `proxy.images.pool.renderer` from its main function on, so it closes the cage and limits itself as always.
"""

from __future__ import annotations

import os
import socket
import sys

from forking import load, serve_forks

MODULE = "proxy.images.pool.renderer"


def _main() -> None:
    load(MODULE)
    os.chdir("/")
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        asked = serve_forks(requests)
    if asked is None:
        return
    request, [descriptor] = asked
    os.setsid()
    sys.argv = [MODULE, str(descriptor), *request["arguments"]]
    sys.modules[MODULE].main()


if __name__ == "__main__":
    _main()
