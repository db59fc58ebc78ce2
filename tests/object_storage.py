"""An object storage in memory, with the manners of the real ones: those of the library s3fs, where they matter."""

from __future__ import annotations

import errno
import io
from typing import Any

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

Buckets = dict[str, dict[str, bytes]]


class Objects(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """
    The storage as one process sees it.

    It remembers the listings that it has seen, and takes from them whether a file is there and how long it is. It has
    no folders, no links and no renaming; to make a folder makes its bucket.

    :param buckets: What is there: other processes share it.
    """

    protocol = "s3"
    cachable = False

    def __init__(self, buckets: Buckets) -> None:
        super().__init__()
        self.buckets = buckets
        self.denied: set[str] = set()
        self.asked_bytes = 0

    def _found(self, path: str) -> tuple[dict[str, bytes], str]:
        bucket, _, key = str(self._strip_protocol(path)).partition("/")
        if bucket not in self.buckets:
            raise FileNotFoundError("The specified bucket does not exist")
        return self.buckets[bucket], key

    def _allow(self, what: str) -> None:
        if what in self.denied:
            raise PermissionError("Access Denied")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = str(self._strip_protocol(path)).rstrip("/")
        if path not in self.dircache:
            self._allow("list")
            objects, key = self._found(path)
            below = f"{key}/" if key else ""
            names = {below + name.removeprefix(below).split("/")[0] for name in objects if name.startswith(below)}
            if not names and key:
                raise FileNotFoundError(path)
            bucket = path.partition("/")[0]
            self.dircache[path] = [self._about(f"{bucket}/{name}", objects.get(name)) for name in sorted(names)]
        found = self.dircache[path]
        return found if detail else [each["name"] for each in found]

    def _about(self, name: str, data: bytes | None) -> dict[str, Any]:
        kind = "directory" if data is None else "file"
        return {"name": name, "size": len(data or b""), "type": kind, "etag": hash(data)}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = str(self._strip_protocol(path)).rstrip("/")
        if (parent := self._parent(path)) in self.dircache:
            for each in self.dircache[parent]:
                if each["name"] == path:
                    return dict(each)
            raise FileNotFoundError(path)
        objects, key = self._found(path)
        if key in objects:
            return self._about(path, objects[key])
        if self.ls(path):
            return self._about(path, None)
        raise FileNotFoundError(path)

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.clear()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self._allow("read")
        self.info(path)  # so does s3fs, to see how long it is
        objects, key = self._found(path)
        data = objects[key][start:end]
        self.asked_bytes += len(data)
        return data

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self._allow("write")
        objects, key = self._found(path)
        objects[key] = bytes(value)
        self.invalidate_cache()

    def rm_file(self, path: str) -> None:
        self._allow("remove")
        objects, key = self._found(path)
        objects.pop(key, None)  # to remove what is not there is no error
        self.invalidate_cache()

    def _rm(self, path: str) -> None:
        self.rm_file(path)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        self.buckets.setdefault(str(self._strip_protocol(path)).partition("/")[0], {})

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.mkdir(path)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> Any:
        return Object(self, path, mode, block_size or 50 * 2**20)


class Object(AbstractBufferedFile):  # type: ignore[misc] # fsspec has no types
    """A file that is read in blocks, as the one that it was when it was opened."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        objects, key = self.fs._found(self.path)
        if hash(objects.get(key)) != self.details["etag"]:
            raise OSError(errno.EBUSY, "The remote file no longer exists")
        return bytes(self.fs.cat_file(self.path, start, end))

    def _upload_chunk(self, final: bool = False) -> bool:
        if final:
            self.buffer.seek(0)
            self.fs.pipe_file(self.path, self.buffer.read())
        return final

    def _initiate_upload(self) -> None:
        assert isinstance(self.buffer, io.BytesIO)
