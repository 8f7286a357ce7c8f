"""The console: dashboard, message browser, reprocessing, users and the REST API, in a process of its own.

It meets the engine only at the store: it reads what is there and writes commands and jobs, which engines pick up.
"""
