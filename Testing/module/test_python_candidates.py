"""Which Pythons are tried for an environment, and in which order."""

from __future__ import annotations

import json
import os
import sys


def listed(*entries: tuple[str, str, str, str]) -> str:
    """What uv says of the Pythons that are installed: path, version, implementation, architecture."""
    found = []
    for path, version, implementation, architecture in entries:
        major, minor, patch = map(int, version.split("."))
        parts = {"major": major, "minor": minor, "patch": patch}
        found.append(
            {
                "path": path,
                "version": version,
                "version_parts": parts,
                "implementation": implementation,
                "variant": "default",
                "arch": architecture,
            }
        )
    return json.dumps(found)


def test_the_candidates_are_tried_in_their_order() -> None:
    from CondDiffusionUADLib.run.PythonCandidates import candidates

    known = listed(
        ("/usr/bin/python3.14", "3.14.0", "cpython", "x86_64"),
        ("/usr/bin/python3.11", "3.11.2", "cpython", "x86_64"),
        ("/usr/bin/pypy3", "3.11.2", "pypy", "x86_64"),
        ("/opt/python3.9", "3.9.2", "cpython", "x86_64"),
        ("/opt/python3.13", "3.13.2", "cpython", "aarch64"),
    )
    requests = [candidate.request for candidate in candidates("", lambda: known, False)]
    assert requests[1:] == ["/usr/bin/python3.11", "/opt/python3.13", "cpython-3.12"]
    assert os.path.samefile(os.path.realpath(requests[0]), os.path.realpath(sys.executable)), "Slicer's own"
    requests = [candidate.request for candidate in candidates("", lambda: known, True)]
    assert requests[:2] == ["cpython-3.12-macos-aarch64", "/opt/python3.13"] and len(requests) == 3
    assert [candidate.request for candidate in candidates("/mine", lambda: known, False)] == ["/mine"]
    assert len(list(candidates("", lambda: "nonsense", False))) == 2
