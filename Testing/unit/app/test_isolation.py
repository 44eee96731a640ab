"""A run keeps to itself: no network, no pickle, no file outside its folders, no name of a patient in what it writes."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import conddiffusion_uad
from conddiffusion_uad.app import output
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.failures import EXIT_CANCELLED, EXIT_DONE

# Tells on stderr whatever must not happen, and goes on: each line is one event of Python's audit hooks.
WATCHED = """
import os, sys
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.sendto", "socket.sendmsg", "urllib.",
           "ftplib.", "http.client.", "smtplib.", "webbrowser.")
OTHERS = ("pickle.find_class", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen")
def tell(*words):
    os.write(2, (" ".join(map(str, words)) + "\\n").encode())  # a line at once: several threads write files
def watch(name, arguments):
    if name.startswith(NETWORK):
        tell("WATCH network", name)
        raise OSError(101, "Network is unreachable")
    if name.startswith(OTHERS) and "fc-list" not in str(arguments):  # by which matplotlib looks for fonts
        tell("WATCH", name, arguments)
    if name == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)) and arguments[0] != os.devnull:
        if isinstance(arguments[2], int) and arguments[2] & WRITING:
            tell("WATCH open", os.path.abspath(os.fsdecode(arguments[0])))
sys.addaudithook(watch)
from conddiffusion_uad.app.cli import main
sys.exit(main(sys.argv[1:]))
"""
PATIENT = ("Doe^Jane", "Doe_Jane", "19700131", "MRN4711", "Memorial")


def patient_scan(scan_file: Path, folder: Path) -> Path:
    """The small scan under the name of a patient, who is also named in its header."""
    folder.mkdir(parents=True)
    data = bytearray(gzip.decompress(scan_file.read_bytes()))
    data[148:228] = b"Doe^Jane 19700131 MRN4711 Memorial".ljust(80, b"\0")  # descrip
    data[228:252] = b"Doe^Jane 19700131".ljust(24, b"\0")  # aux_file
    data[4:14] = b"MRN4711".ljust(10, b"\0")  # data_type
    data[14:32] = b"Doe^Jane MRN4711".ljust(18, b"\0")  # db_name
    path = folder / "Doe_Jane_19700131_MRN4711_T1.nii.gz"
    path.write_bytes(gzip.compress(bytes(data)))
    return path


def patient_series(scan_file: Path, folder: Path) -> Path:
    """The small scan as DICOM files of a patient."""
    folder.mkdir(parents=True)
    scan = sitk.ReadImage(str(scan_file))
    values = np.round(sitk.GetArrayFromImage(scan) / sitk.GetArrayFromImage(scan).max() * 4000).astype(np.int16)
    for number, plane in enumerate(values):
        image = sitk.GetImageFromArray(plane)
        image.SetSpacing(scan.GetSpacing()[:2])
        x, y, z = scan.TransformIndexToPhysicalPoint((0, 0, number))
        axes = np.array(scan.GetDirection()).reshape(3, 3)
        tags = {
            "0008|0060": "MR",
            "0008|0080": "Memorial",
            "0008|103e": "t1 mprage",
            "0010|0010": "Doe^Jane",
            "0010|0020": "MRN4711",
            "0010|0030": "19700131",
            "0020|000e": "1.2.3",
            "0020|000d": "1.2",
            "0020|0013": str(number),
            "0020|0032": f"{x}\\{y}\\{z}",
            "0020|0037": "\\".join(str(value) for value in (*axes[:, 0], *axes[:, 1])),
            "0008|0018": f"1.2.3.{number}",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"Doe_{number:03}.dcm"))
        writer.Execute(image)
    return folder


def installation() -> dict[Path, int]:
    """When each shipped file was changed; compiled files are Python's business."""
    package = Path(conddiffusion_uad.__file__).parent
    return {
        path: path.stat().st_mtime_ns
        for top in (package, resources())
        for path in top.rglob("*")
        if "__pycache__" not in path.parts
    }


class Run:
    """One run as a process that is watched, in an environment with little in it."""

    def __init__(self, environment: dict[str, str], scan: Path, bundle: Path, folder: Path, *options: str) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        bare = {key: value for key, value in environment.items() if key not in ("HOME", "XDG_DATA_HOME", "USER")}
        bare |= {"TMPDIR": str(self.temporary), "MPLCONFIGDIR": str(folder / "fonts"), "PYTHONDONTWRITEBYTECODE": "1"}
        bare |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        arguments = ["detect", scan, "--output", folder / "out", "--bundle", bundle, "--json", *options]
        self.done = subprocess.run(
            [sys.executable, "-c", WATCHED, *map(str, arguments)],
            env=bare,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        self.watched = [line for line in self.done.stderr.splitlines() if line.startswith("WATCH")]


@pytest.fixture(scope="module", params=["file", "series"])
def run(
    request: pytest.FixtureRequest,
    environment: dict[str, str],
    scan_file: Path,
    small_bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """The run of a patient's scan, without a home folder, behind a proxy that does not answer; one strips the skull."""
    top = tmp_path_factory.mktemp("isolated")
    make = patient_scan if request.param == "file" else patient_series
    options = [] if request.param == "file" else ["--skull", "on"]
    before = installation()
    made = Run(environment, make(scan_file, top / "Doe^Jane 19700131"), small_bundle, top / "run", *options)
    assert made.done.returncode == EXIT_DONE, made.done.stderr
    assert installation() == before
    return made


def test_nothing_is_sent_or_started_and_no_pickle_is_loaded(run: Run) -> None:
    assert [line for line in run.watched if not line.startswith("WATCH open")] == []


def test_files_are_written_only_into_the_private_folder(run: Run) -> None:
    written = [Path(line.removeprefix("WATCH open ")) for line in run.watched if line.startswith("WATCH open")]
    assert len(written) >= 3, "the watch works"
    for path in written:
        private = path.parent.parent == run.folder and path.parent.name.startswith(".conddiffusion-uad-")
        assert private or run.temporary in path.parents or run.folder / "fonts" in path.parents, path
    assert set(os.listdir(run.folder)) <= {"out", "temporary", "fonts"}
    assert os.listdir(run.temporary) == []


def test_no_name_of_a_patient_is_in_the_results_or_in_the_log(run: Run) -> None:
    for name in result_files.FILES:
        content = (run.folder / "out" / name).read_bytes()
        content = gzip.decompress(content) if name.endswith(".gz") else content
        for word in PATIENT:
            assert word.encode() not in content and word.encode("utf-16-le") not in content, (name, word)
        assert name != result_files.REPORT or str(run.folder).encode() not in content
    for word in PATIENT:
        assert word not in run.done.stdout and word not in run.done.stderr, word


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_the_private_folder_is_for_its_owner_only_whatever_the_mask(tmp_path: Path) -> None:
    usual = os.umask(0)
    try:
        with output.staged(tmp_path / "out", force=False) as private:
            for name in result_files.FILES:
                (private / name).touch()
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
    finally:
        os.umask(usual)


def test_a_cancelled_run_leaves_no_temporary_folder_of_a_scan_that_was_being_read(environment: dict[str, str]) -> None:
    code = "\n".join(
        (
            "import sys, tempfile",
            "from conddiffusion_uad.app import cli",
            "held = tempfile.TemporaryDirectory()",  # as the thread has that reads ahead, in the middle of a DICOM file
            "print(held.name)",
            "cli.main = lambda: cli.EXIT_CANCELLED",
            "sys.argv[1:] = ['detect']",
            "cli.program()",
        )
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_CANCELLED
    assert done.stdout.strip() and not Path(done.stdout.strip()).exists()
