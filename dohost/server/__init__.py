"""The HTTP face of the host: the only room that knows aiohttp."""
