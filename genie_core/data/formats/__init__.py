"""Every format that is read, a package each: layout (how it is recognised), reader, and metadata or writer."""
