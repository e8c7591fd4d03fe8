"""The package `pyodide` as worker code imports it: `pyodide.ffi` and `pyodide.http`."""
