"""Which script an interpreter runs: "worker" says more than "python3". Pure."""

from __future__ import annotations

import re

# Options of each that take the next argument as their value; an option that is the program itself (-c, -e) ends it.
_TAKES_VALUE = {
    "python": frozenset({"-W", "-X", "--check-hash-based-pycs"}),
    "node": frozenset({"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"}),
    "ruby": frozenset({"-I", "-r", "-E", "-K"}),
    "perl": frozenset(),
    "php": frozenset({"-d", "-c"}),
    "java": frozenset({"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules", "--add-opens"}),
    "bash": frozenset({"-o", "-O", "--rcfile", "--init-file"}),
}  # fmt: skip
_IS_PROGRAM_TEXT = {
    "python": frozenset({"-c"}), "node": frozenset({"-e", "--eval", "-p", "--print"}), "ruby": frozenset({"-e"}),
    "perl": frozenset({"-e", "-E"}), "php": frozenset({"-r"}), "bash": frozenset({"-c"}),
}  # fmt: skip
_NAMES = re.compile(r"(python|pypy|node|nodejs|ruby|perl|php|java|bash|sh|dash|zsh|ksh)[\d.]*")
_SAME = {"pypy": "python", "nodejs": "node", "sh": "bash", "dash": "bash", "zsh": "bash", "ksh": "bash"}
_GOOD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,63}")
_SUFFIX = re.compile(r"\.(pyc?|pyw|m?js|cjs|ts|rb|pl|php|jar|sh|bash)$")
_MAIN = frozenset({"__main__", "main", "index", "app", "server", "manage", "run", "start"})


def script_name(executable: str, arguments: tuple[str, ...]) -> str:
    """Name of the script or module that an interpreter was started with.

    Args:
        executable: path or name of the program.
        arguments: the program itself first.

    Returns:
        The script's base name without its suffix; of ``…/checkout/main.py`` the folder, since every service may have
        one. Of ``-m package.module`` the package, of a Java main class the class. Empty when the program is no
        interpreter, runs no file, or the name would not do as one.
    """
    found = _NAMES.fullmatch(executable.rpartition("/")[2].removesuffix(" (deleted)"))
    if not found:
        return ""
    language = _SAME.get(found.group(1), found.group(1))
    words = iter(arguments[1:])
    for word in words:
        if word in _IS_PROGRAM_TEXT.get(language, ()):
            return ""
        if word == "-m" and language == "python":
            return _checked(next(words, "").partition(".")[0])
        if word == "-jar" and language == "java":
            return _checked(_stem(next(words, "")))
        if word in _TAKES_VALUE[language]:
            next(words, None)
        elif not word.startswith("-"):
            return _checked(word.rpartition(".")[2] if language == "java" else _stem(word))
    return ""


def _stem(path: str) -> str:
    folder, _, name = path.rpartition("/")
    stem = _SUFFIX.sub("", name)
    return folder.rpartition("/")[2] or stem if stem in _MAIN else stem


def _checked(name: str) -> str:
    return name if _GOOD_NAME.fullmatch(name) else ""
