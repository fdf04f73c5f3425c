"""Complete runs as Python functions; derive your own by calling one and changing what it is given."""
