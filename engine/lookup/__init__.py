"""Connections that only `lookup` steps use: SQL databases and HTTP services."""
