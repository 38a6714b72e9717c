"""The front door: the commands, and everything on one machine with `tutelage up`."""
