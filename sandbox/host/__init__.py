"""A local Functions host: the official runtime library, driven in-process, with the triggers that the app uses."""
