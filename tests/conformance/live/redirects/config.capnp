# workerd's configuration; the socket's address and the disk's path come from the command line.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "objects", disk = (path = "/nonexistent", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-04-01",
  durableObjectNamespaces = [(className = "Target", uniqueKey = "live-Target", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    (name = "OBJECT", durableObjectNamespace = "Target"),
    (name = "SERVICE", service = (name = "main", entrypoint = "Named")),
  ],
);
