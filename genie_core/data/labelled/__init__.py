"""Labels in memory and on disk: the schema of labelled files, atomic writing, reading."""
