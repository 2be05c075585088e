"""Themes of Python's standard library: the sources of the demo's corpus.

A table from top-level modules to themes, with those that some of Python 3.11 to 3.13 lack; every other
module, of these releases or later ones, is of ``REST``. So a module has one theme in all of them.
"""

from typing import Final

__all__ = ["REST", "THEMES", "theme"]

REST: Final = "everything else"
THEMES: Final = {
    "text": "codecs difflib encodings gettext locale pprint re reprlib sre_compile sre_constants sre_parse "
    "string stringprep textwrap unicodedata",
    "numbers and dates": "_pydecimal _pydatetime _strptime calendar colorsys datetime decimal fractions "
    "numbers random statistics zoneinfo",
    "files and formats": "aifc base64 binhex bz2 _compression chunk configparser csv dbm filecmp fileinput "
    "glob gzip imghdr json lzma netrc pathlib pickle pickletools plistlib quopri shelve shutil sndhdr "
    "sqlite3 sunau tarfile tempfile tomllib uu wave xdrlib xml zipfile",
    "internet": "asynchat asyncore cgi cgitb email ftplib html http imaplib ipaddress mailbox mailcap "
    "mimetypes nntplib poplib smtpd smtplib socket socketserver ssl telnetlib urllib uuid webbrowser "
    "wsgiref xmlrpc",
    "concurrency": "asyncio concurrent contextvars multiprocessing queue sched selectors signal subprocess "
    "threading _threading_local",
    "user interfaces": "_pyrepl argparse cmd code codeop curses getopt getpass idlelib optparse pty "
    "rlcompleter tkinter tty turtle turtledemo",
    "development": "ast bdb cProfile compileall dis distutils doctest ensurepip imp importlib inspect "
    "lib2to3 modulefinder opcode pdb pkgutil profile pstats py_compile pyclbr pydoc pydoc_data symtable "
    "tabnanny timeit token tokenize trace traceback tracemalloc unittest venv zipapp zipimport",
}
"""Names of top-level modules, by theme."""

_THEME_OF: Final = {module: name for name, modules in THEMES.items() for module in modules.split()}


def theme(name: str) -> str:
    """Return the theme of the library's file ``name``, a path relative to the library."""
    return _THEME_OF.get(name.split("/")[0].partition(".")[0], REST)
