"""The contract that user code sees: ids, namespaces, stubs, calls and `ctx`."""
