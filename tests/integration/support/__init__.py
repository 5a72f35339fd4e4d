"""What the integration tests are made of: Weir as a process, its peers, streams and figures."""
