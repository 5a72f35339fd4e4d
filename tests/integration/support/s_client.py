"""`openssl s_client`: a client whose TLS sessions are files."""

from support.processes import run


def s_client(weir, *options, listener="web", server_name="localhost"):
    """One request; it waits for the server's end, so that tickets have arrived by then."""
    return run("openssl", "s_client", "-connect", f"127.0.0.1:{weir.port(listener)}",
               "-servername", server_name, "-ign_eof", *options,
               input="GET / HTTP/1.1\r\n\r\n")
