"""Files, each stored once by the SHA-256 digest of its bytes."""

import hashlib
from pathlib import Path

from pipeline.model.errors import ContentError
from pipeline.stores.objects import FolderObjects, Objects


class BlobStore:
    """Blobs among objects, spread by the first two digits of their digest."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    @staticmethod
    def key(digest: str) -> str:
        """Say under which key the bytes of that digest are kept."""
        return f"{digest[:2]}/{digest[2:]}"

    def put(self, data: bytes) -> str:
        """Keep the bytes, once, and return their digest. Raises ``StoreError`` on a full disk."""
        digest = hashlib.sha256(data).hexdigest()
        self.objects.put(self.key(digest), data)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes. Raises ``ContentError('blob.absent')``."""
        try:
            return self.objects.get(self.key(digest))
        except FileNotFoundError as error:
            raise ContentError("blob.absent", f"no blob {digest}") from error

    def remove(self, digest: str) -> bool:
        """Forget the bytes (erasure). Returns whether they were there."""
        return self.objects.remove(self.key(digest))


class FolderBlobs(BlobStore):
    """Blobs below a folder."""

    def __init__(self, root: Path) -> None:
        super().__init__(FolderObjects(root))
