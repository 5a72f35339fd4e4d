"""The parts of a configuration that most tests write, with the defaults that tests want."""

# A whole file, as small as it can be, to be made worse by a test.
GOOD = """\
version: 1
listeners:
  web:
    bind: "127.0.0.1:0"
    mode: tcp
    upstream: api
upstreams:
  api:
    endpoints:
      - address: "127.0.0.1:9000"
"""


def listener(upstream="api", **keys):
    """A listener on a port of the kernel's choice."""
    return {"bind": "127.0.0.1:0", "mode": "tcp", "upstream": upstream, **keys}


def upstream(*endpoints, **keys):
    """Of Endpoint objects, addresses, or maps with an address and more keys."""
    return {"endpoints": [_endpoint(endpoint) for endpoint in endpoints], **keys}


def _endpoint(endpoint):
    if isinstance(endpoint, dict):
        return endpoint
    return {"address": getattr(endpoint, "address", endpoint)}


def tls(*certificates, **keys):
    """TLS settings for a listener."""
    return {"certificates": [{"cert": c.cert, "key": c.key} for c in certificates], **keys}


def quick_checks(**keys):
    """Health checks at a pace that suits a test."""
    return {"interval": "200ms", "fast_interval": "50ms", "timeout": "500ms",
            "healthy_after": 2, "unhealthy_after": 2, **keys}


def whole(upstreams, listeners, tls_settings, directory, **top):
    """A configuration as a dict. One upstream alone is named api, one listener alone web, TLS
    settings alone public."""
    result = {
        "version": 1,
        "workers": 2,
        "drain": {"timeout": "5s"},
        "log": {"level": "info", "format": "text"},
        "access_log": {"path": f"{directory}/access.log", "format": "json"},
        "admin": {"bind": f"unix:{directory}/admin.sock"},
        "tls": _named("public", "certificates", tls_settings),
        "listeners": _named("web", "bind", listeners),
        "upstreams": _named("api", "endpoints", upstreams),
        **top,
    }
    if not result["tls"]:
        del result["tls"]
    return result


def _named(name, mark, value):
    return {name: value} if value and mark in value else value
