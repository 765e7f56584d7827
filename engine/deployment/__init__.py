"""An installation described in one file: what differs from it, and making it so."""
