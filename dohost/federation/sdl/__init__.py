"""Subgraph SDL: what one document says, after links, federation versions and leniency are settled."""
