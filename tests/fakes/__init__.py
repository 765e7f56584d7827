"""Stand-ins for services, used where the network begins; each passes the contract of what it stands for."""
