"""Formats that can be read, one package each: layout (recognition), reader, and metadata or writer."""
