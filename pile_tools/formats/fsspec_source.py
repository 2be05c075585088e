"""Files behind any URL that fsspec knows: ``s3://``, ``gs://``, ``memory://`` and others."""

from collections.abc import Mapping
from typing import Any, Final

import fsspec
import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, MissingExtraError, PileToolsError
from pile_tools.formats.names import check_name
from pile_tools.formats.remote import RemoteSource
from pile_tools.formats.retry import TryAgain, retried
from pile_tools.formats.sources import MissingFileError
from pile_tools.formats.urls import redacted, without_credentials

__all__ = ["FsspecSource", "list_folder"]

# Packages whose module has another name.
_PACKAGES: Final = {"smbclient": "smbprotocol"}


def _file_system(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    if scheme not in fsspec.available_protocols():
        raise PileToolsError(
            f"{url}: {scheme}:// is not known; name a path, or a URL with https://, hf://, s3:// or gs://"
        )
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        # fsspec raises its own error from that of the import.
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        module = (cause.name or "").partition(".")[0]
        package = _PACKAGES.get(module, module.replace("_", "-"))
        remedy = (
            f"{package} is not installed; run `pip install {package}`" if package else redacted(str(error))
        )
        raise MissingExtraError(f"{without_credentials(url)}: {remedy}") from None
    except (ValueError, TypeError, OSError) as error:
        reason = redacted(" ".join(str(error).split()))[:200]
        raise PileToolsError(
            f"{without_credentials(url)}: {scheme}:// cannot be used here ({reason})"
        ) from None
    return system, path


def _refused(name: str, error: Exception) -> PileToolsError:
    return PileToolsError(
        f"{name}: {redacted(str(error))}; give what it needs in the configuration of fsspec (FSSPEC_… in the "
        "environment, or its files)"
    )


def _info(system: Any, path: str, name: str) -> tuple[int, str]:
    """Size of a file and what names its version, empty where the file system tells nothing."""

    def once() -> tuple[int, str]:
        try:
            system.invalidate_cache()
            info = system.info(path)
        except FileNotFoundError:
            raise MissingFileError(f"{name}: no such file") from None
        except PermissionError as error:
            raise _refused(name, error) from None
        except OSError as error:
            raise TryAgain(redacted(str(error))) from None
        marks = [
            f"{key}={info[key]}"
            for key in ("ETag", "etag", "version_id", "md5Hash", "LastModified", "mtime", "created")
            if info.get(key) is not None
        ]
        return int(info["size"]), " ".join(marks)

    return retried(once, name)


def list_folder(url: str) -> Mapping[str, int | None]:
    """Return names and sizes of the files directly in the folder ``url``."""
    name = without_credentials(url)
    system, path = _file_system(url)
    try:
        entries = system.ls(path, detail=True)
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise _refused(name, error) from None
    except OSError as error:
        raise PileToolsError(f"{name}: {redacted(str(error))}") from None
    return {
        check_name(entry["name"].rstrip("/").rpartition("/")[2], name): entry["size"]
        for entry in entries
        if entry["type"] == "file"
    }


class FsspecSource(RemoteSource):
    """One file; that it is still the version that was opened is asked after each read."""

    def __init__(self, url: str, size: int | None = None) -> None:
        self.name = without_credentials(url)
        self._system, self._path = _file_system(url)
        self.size, self._marks = _info(self._system, self._path, self.name)
        self.version = f"{self.name} {self._marks} {self.size}" if self._marks else None
        if size is not None and size != self.size:
            raise DataError(f"{self.name}: {self.size} bytes, but {size} were expected")

    def fetch(self, start: int, length: int) -> bytes:
        def once() -> bytes:
            try:
                content = bytes(self._system.cat_file(self._path, start=start, end=start + length))
            except FileNotFoundError:
                raise DataError(f"{self.name}: removed while it was being read") from None
            except PermissionError as error:
                raise _refused(self.name, error) from None
            except OSError as error:
                raise TryAgain(redacted(str(error))) from None
            if len(content) != length:
                raise TryAgain(f"{len(content)} of {length} bytes came", kind=DataError)
            return content

        return retried(once, self.name)

    def read_many(
        self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint8]:
        content = super().read_many(starts, lengths)
        if _info(self._system, self._path, self.name) != (self.size, self._marks):
            raise DataError(f"{self.name}: changed while it was being read; begin again")
        return content
