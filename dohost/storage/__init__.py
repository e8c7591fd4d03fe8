"""One object's data: a SQLite file, its transactions, and the API that user code holds.

`storage` is what user code sees; `database` is one file; `commit` makes many objects' writes durable.
"""
