"""Fuzzing of everything that reads bytes of strangers: ``make fuzz``.

`targets` has one function for each kind of bytes, and its seeds, made by the factories. `child` mutates them, guided by
coverage (atheris), in a process of its own, since a decoder may take its process with it. `server` sends mutated
requests to a running server. What was found lies minimised in ``finds/<target>/`` and is read again by `test_finds`.
"""
