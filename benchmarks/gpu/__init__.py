"""Everything that Genie wants to know of a GPU, in one command of under nine minutes: ``python -m benchmarks.gpu``.

It needs no network and no installed Genie: a Python with PyTorch, and the repository. What a part needs besides is in
its entry in `parts`; a part whose modules are missing is left out, and says so.
"""

from benchmarks.gpu.stand_in import stand_in_for_av

stand_in_for_av()
