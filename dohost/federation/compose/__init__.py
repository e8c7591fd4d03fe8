"""Composition: many subgraph schemas become one supergraph, or a list of errors."""
