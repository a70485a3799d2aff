"""Labels in memory and on disk: the schema of labelled files, writing them safely, reading them back."""
