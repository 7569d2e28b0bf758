"""Runs the tests of kazoo itself, unmodified, against an ensemble of three servers.

Usage: kazoo_suite.py SERVER [arguments of pytest]

SERVER is `zookeeper` (Debian's package) or `serve:BINARY`. kazoo's tests start and stop the servers
themselves, with Java: for zokor a `java` of ours stands first on their PATH (kazoo_suite/java).
The tests come from kazoo's source package on PyPI, checked by its hash, and are kept with what they
need in target/kazoo-suite. Which of them are expected to fail, and why, is told in
kazoo_suite/expected.py. Without arguments all tests run; `-k NAME` and the like pick some, and
`--steady` leaves out those that are known to race a clock. Many ask one server for what another has
acknowledged, which either ensemble may answer too early; who fails is run once more, and told of.
"""

import hashlib
import os
import pathlib
import subprocess
import sys

from start import claim_ports

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
KAZOO = "2.10.0"
SHA256 = "905796ae4f4c12bd4e4ae92e6e5d018439e6b56c8cfbb24825362e79b230dab1"
# What the tests import. pyOpenSSL: the newest in which they find X509Extension. pyjks comes without
# one of its needs, twofish, which would have to be compiled and which no test touches.
NEEDS = [
    "pytest==8.3.5",
    "pytest-timeout==2.3.1",
    "pytest-rerunfailures==15.0",
    "objgraph==3.6.2",
    "gevent==24.11.1",
    "eventlet==0.39.1",
    "pure-sasl==0.6.2",
    "pyopenssl==24.2.1",
    "pycryptodomex==3.22.0",
    "javaobj-py3==0.4.4",
    "pyasn1==0.6.1",
    "pyasn1_modules==0.4.1",
]
WITHOUT_NEEDS = ["pyjks==20.0.0"]
VERSIONS = {"zookeeper": "3.8.0", "serve": "3.9.4"}
JARS = """
    zookeeper.jar slf4j-simple.jar netty-codec.jar netty-resolver.jar
    netty-transport-native-unix-common.jar servlet-api.jar
"""
# Of one test, beginning with the start of the servers.
BOUND_S = 180


def prepare(folder):
    """The folder with kazoo's sources and its interpreter's; both are made if they are missing."""
    python, sources = folder / "python", folder / f"kazoo-{KAZOO}"
    archive = folder / f"kazoo-{KAZOO}.tar.gz"
    marker = folder / "complete"
    wanted = "\n".join([SHA256, *NEEDS, *WITHOUT_NEEDS])
    if marker.exists() and marker.read_text() == wanted:
        return python / "bin" / "python", sources
    subprocess.check_call([sys.executable, "-m", "venv", "--clear", python])
    pip = [python / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.check_call([*pip, "install", *NEEDS])
    subprocess.check_call([*pip, "install", "--no-deps", *WITHOUT_NEEDS])
    download = ["download", "--no-deps", "--no-binary", ":all:", "--dest", folder]
    subprocess.check_call([*pip, *download, f"kazoo=={KAZOO}"])
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert found == SHA256, f"{archive} is not the kazoo that these tables are for: {found}"
    subprocess.check_call(["tar", "--extract", "--file", archive, "--directory", folder])
    marker.write_text(wanted)
    return python / "bin" / "python", sources


def main():
    server, *arguments = sys.argv[1:]
    kind, _, binary = server.partition(":")
    assert kind in ("zookeeper", "serve"), server
    folder = TARGET / "kazoo-suite"
    folder.mkdir(parents=True, exist_ok=True)
    python, sources = prepare(folder)
    claim, ports = claim_ports(30)
    environment = {
        **os.environ,
        # Tells the tests to believe the version, which is what the servers say of themselves.
        "CI": "true",
        "ZOOKEEPER_VERSION": VERSIONS[kind],
        "ZOOKEEPER_PORT_OFFSET": str(ports[0]),
        "ZOOKEEPER_CLASSPATH": ":".join(f"/usr/share/java/{jar}" for jar in JARS.split()),
        "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "KAZOO_SUITE_SERVER": kind,
        "PYTHONPATH": str(HERE / "kazoo_suite"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if kind == "serve":
        environment["ZOKOR"] = str(pathlib.Path(binary).resolve())
        environment["PATH"] = f"{HERE / 'kazoo_suite'}:{os.environ['PATH']}"
    command = [python, "-m", "pytest", "-p", "expected", "-p", "no:cacheprovider", "-q", "-rfEsxXR"]
    command += ["-o", "log_cli=false", "--disable-warnings", "--durations=5"]
    command += [f"--timeout={BOUND_S}", "--reruns=1", "kazoo/tests", *arguments]
    with claim:
        sys.exit(subprocess.call(command, cwd=sources, env=environment))


if __name__ == "__main__":
    main()
