"""dohost: Durable Objects in Python on ordinary CPython, and an API gateway that federates them."""

__version__ = "0.1.0"
