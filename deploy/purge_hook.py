#!/usr/bin/env python3
"""Removes copies from a cache in front when imgmirror purges: an address for `server.purge_hooks`.

imgmirror sends the purged sources as JSON. For nginx, this program deletes the files of `proxy_cache_path` whose key
holds one of them; nginx then asks again. For Varnish, it sends a BAN (deploy/varnish.vcl). It needs Python alone, no
package, and the rights to delete nginx's files:

    python3 purge_hook.py --listen 127.0.0.1:8079 --nginx /var/cache/imgmirror-nginx
    python3 purge_hook.py --listen 127.0.0.1:8079 --varnish http://127.0.0.1:6081

    [server]
    purge_hooks = ["http://127.0.0.1:8079/"]

Sources are found in addresses as they are and percent-encoded. Addresses of other proxies that hide the source in
base64 or hex (imgproxy, camo) are not found; their copies end with their max-age. Listen on loopback only: anybody who
reaches the address can empty the cache. Blocking.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import json
import re
import sys
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

MAX_BODY = 16 * 2**20
KEY_WITHIN = 16 * 1024
"""nginx writes a head of a few hundred bytes and then the line `KEY: …` at the beginning of each file."""

Purge = Callable[[Sequence[str]], None]


def without_scheme(source: str) -> str:
    """Return the part that all spellings of a source share: some proxies leave out the scheme."""
    return source.partition("://")[2] or source


def purge_nginx(folder: Path, sources: Sequence[str]) -> None:
    """Delete the files of nginx's cache that show one of the sources. A file that has disappeared meanwhile is not an
    error."""
    wanted = [without_scheme(source).encode() for source in sources]
    for path in folder.rglob("*"):
        try:
            with path.open("rb") as file:
                head = file.read(KEY_WITHIN)
        except OSError:
            continue  # a folder, or a file that nginx has replaced
        key = head.partition(b"\nKEY: ")[2].partition(b"\n")[0]
        spellings = (key, unquote_to_bytes(key), unquote_to_bytes(unquote_to_bytes(key)))
        if any(source in spelling for source in wanted for spelling in spellings):
            path.unlink(missing_ok=True)


def pattern(source: str) -> str:
    """Return a regular expression without blanks and quotes that finds a source in an address, in any spelling."""
    return "(?i)" + "".join(_any_spelling(letter) for letter in without_scheme(source))


def _any_spelling(letter: str) -> str:
    if re.fullmatch("[A-Za-z0-9_-]", letter):
        return letter
    escaped = f"{ord(letter):02x}"
    plain = "." if letter in "\\\"'^[]" or letter.isspace() else f"[{letter}]"
    return f"(?:{plain}|%{escaped}|%25{escaped})"


def purge_varnish(base: str, sources: Sequence[str]) -> None:
    """Send a BAN for each source.

    Raises:
        OSError, http.client.HTTPException: Varnish does not answer, or refuses.
    """
    place = urlsplit(base)
    connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port or 80, timeout=4)
    try:
        for source in sources:
            connection.request("BAN", "/", headers={"X-Imgmirror-Ban": pattern(source)})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f"Varnish answered {answer.status} {answer.reason}")
    finally:
        connection.close()


def handler(purges: Sequence[Purge]) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers imgmirror's requests: 204, or 502 when a cache could not be told."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            try:
                told = json.loads(self.rfile.read(length)) if 0 < length <= MAX_BODY else {}
                sources = [str(source) for name in ("purged", "blocked") for source in told.get(name, [])]
            except (AttributeError, TypeError, ValueError):
                self.send_error(400)
                return
            try:
                for purge in purges:
                    purge(sources)
            except (OSError, http.client.HTTPException) as error:
                self.log_error("%s", error)
                self.send_error(502)
                return
            self.send_response(204)
            self.end_headers()

    return Hook


def main() -> int:
    """Listen until interrupted."""
    parser = argparse.ArgumentParser(description="Removes copies from caches in front when imgmirror purges.")
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8079")
    parser.add_argument("--nginx", metavar="FOLDER", type=Path, action="append", default=[])
    parser.add_argument("--varnish", metavar="URL", action="append", default=[])
    args = parser.parse_args()
    purges: list[Purge] = [functools.partial(purge_nginx, folder) for folder in args.nginx]
    purges += [functools.partial(purge_varnish, base) for base in args.varnish]
    if not purges:
        parser.error("name a cache: --nginx or --varnish")
    host, _, port = args.listen.rpartition(":")
    with ThreadingHTTPServer((host, int(port)), handler(purges)) as server:
        print(f"listening on http://{host}:{server.server_address[1]}", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
