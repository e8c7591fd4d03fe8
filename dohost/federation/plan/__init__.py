"""Query planning: one operation becomes a graph of fetches, decided without any I/O."""
