"""The shared language of Tutelage. Importing this package imports nothing else: torch loads only with `core.models`."""
