"""GraphQL Federation: composition, planning and execution, with no I/O of its own.

`engine.Engine` is the gateway's side, `subgraph` is the service's side, `contract` holds what passes
between them. Nothing here knows a gateway, a Durable Object or a host.
"""
