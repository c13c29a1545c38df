# imgmirror behind Varnish, which keeps copies. On Debian: /etc/varnish/default.vcl. Varnish has no TLS: put hitch, Caddy
# or nginx before it.
vcl 4.1;

import std;

backend default {
    .host = "127.0.0.1";
    .port = "8080";
    # Longer than the queues of imgmirror and render.timeout together.
    .first_byte_timeout = 90s;
    .probe = {
        .url = "/healthz";
        .interval = 2s;
        .timeout = 1s;
        .window = 3;
        .threshold = 2;
        .initial = 2;
    }
}

# Who may remove copies: deploy/purge_hook.py on this machine.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "BAN") {
        # Several addresses in X-Forwarded-For: the request came through another proxy on this machine.
        if (client.ip !~ purgers || req.http.X-Forwarded-For ~ ",") {
            return (synth(403, "Forbidden"));
        }
        if (std.ban("obj.http.X-Imgmirror-Target ~ " + req.http.X-Imgmirror-Ban)) {
            return (synth(200, "Banned"));
        }
        return (synth(400, std.ban_error()));
    }
    if (req.url ~ "^/(metrics|purge|explain|rewrite|readyz|healthz|desk|api)(/|\?|$)") {
        return (pass);
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    unset req.http.Cookie;

    # Answers differ by Accept. Three values instead of every browser's own: AVIF and WebP, WebP alone, neither.
    if (req.http.Accept ~ "image/avif(?!\s*;\s*q=0(\.0*)?(,|;|\s|$))") {
        set req.http.Accept = "image/avif,image/webp,*/*";
    } elsif (req.http.Accept ~ "image/webp(?!\s*;\s*q=0(\.0*)?(,|;|\s|$))") {
        set req.http.Accept = "image/webp,*/*";
    } else {
        set req.http.Accept = "*/*";
    }

    # An expired copy is answered for a short time while a new one is fetched, and for days while imgmirror is away.
    if (std.healthy(req.backend_hint)) {
        set req.grace = 60s;
    }
    return (hash);
}

sub vcl_backend_response {
    set beresp.grace = 30d;
    set beresp.keep = 1d;
    # The ban lurker sees no requests, so the copy names its own address.
    set beresp.http.X-Imgmirror-Target = bereq.url;
    if (beresp.status >= 500 && bereq.is_bgfetch) {
        return (abandon);
    }
}

sub vcl_deliver {
    unset resp.http.X-Imgmirror-Target;
}
