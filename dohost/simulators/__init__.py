"""Local stand-ins for the bindings that Cloudflare serves from its network: KV, D1, R2, queues and others.

Each is a small program of its own on a file under `<persist>/v3/`, named after the id in the
configuration, so that a person finds it and reads it with the `sqlite3` shell. Messages and limits are
those that programs meet on Cloudflare.

Two kinds of file: an API face (`kv`, `d1`, `r2`, `queue`), which checks arguments at the call and sends the
work through the `Outlet`; and what it keeps (`…_store`), which knows no user code. Simulators know no
objects and never open an object's file.
"""
