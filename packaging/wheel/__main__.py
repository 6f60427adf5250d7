"""Runs the program of this package with the library of the package `onnxruntime`."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "TIDEGATE_ONNXRUNTIME"


def onnxruntime_library():
    """The shared library in the installed package `onnxruntime`. The package is not imported: that takes a second."""
    spec = find_spec("onnxruntime")
    for folder in (spec and spec.submodule_search_locations) or ():
        for library in sorted(Path(folder, "capi").glob("libonnxruntime.so*")):
            return str(library)
    return None


def main():
    environment = dict(os.environ)
    if not environment.get(VARIABLE) and (library := onnxruntime_library()):
        environment[VARIABLE] = library
    binary = Path(__file__).with_name("bin") / "tidegate"
    # The program takes the place of Python, so that signals and the exit status are its own.
    os.execve(binary, ["tidegate", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
