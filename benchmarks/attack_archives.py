"""Hostile archives: tar, compressed or not, and zip. Each function gives DATA for a command."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

from attack_files import Forge, damage, hostile_image, images

ODD_NAMES = [
    "",
    ".",
    "..",
    "../../guard/x.png",
    "/etc/x.png",
    "C:\\x.png",
    "a\\b\\c.png",
    "a//b.png",
    "x" * 250 + ".png",
]
ODD_NAMES += [
    "[/x].png",
    "\x1b[31m.png",
    "=1+1.png",
    "-rf.png",
    "@x.png",
    "a\nb.png",
    "con.png",
    "a\u202eb.png",
    " .png",
]
ZERO = b"\0" * 2**20


def odd_images(forge: Forge) -> list[tuple[str, bytes]]:
    """The same with odd names among them, repeated names, or a file that is hostile itself."""
    found = images(forge)
    for _ in range(forge.dice.choice([1, 1, 3])):
        number = forge.dice.randrange(len(found))
        name, data = found[number]
        what = forge.dice.randrange(4)
        if what == 0:
            _, suffix, data = hostile_image(forge)
            name = name.replace(".png", suffix)
        elif what == 1:
            name = forge.dice.choice(ODD_NAMES)
        elif what == 2:
            name = f"{forge.word()}/{number}.png"
        else:
            name = found[0][0]
        found[number] = name, data
    return found


PACKERS = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}


def tar(forge: Forge) -> str:
    """A tar, compressed or not, with odd members, headers that lie, or a bomb."""
    suffix = forge.dice.choice([".tar", ".tar", *PACKERS])
    stream = io.BytesIO()
    form = forge.dice.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data in odd_images(forge):
            _member(forge, archive, name, data)
    data = stream.getvalue()
    if forge.chance(3):
        data = _lying_headers(forge, data)
    if forge.chance(3):
        data = damage(forge, data)
    if suffix != ".tar" and forge.chance(4):
        return forge.file("set" + suffix, _tar_bomb(forge, suffix))
    packed = PACKERS[suffix](data)
    return forge.file("set" + suffix, damage(forge, packed) if forge.chance(4) else packed)


def _member(forge: Forge, archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    if forge.chance(5):
        member.type = forge.dice.choice(
            [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, b"S", b"?"]
        )
        member.linkname = forge.dice.choice([f"{forge.guard}/secret.png", "../../guard/secret.png", name, "a/0.png"])
    if forge.chance(6):
        member.pax_headers = {
            forge.dice.choice(["path", "size", "GNU.sparse.map", "GNU.sparse.size", "mtime", "hdrcharset"]): (
                forge.dice.choice(["-1", "nan", "9" * 30, "0,1,x", "/etc/x.png", "\x1b[31m.png", "BINARY"])
            )
        }
    try:
        archive.addfile(member, io.BytesIO(data))
    except (ValueError, UnicodeError):  # a name that this format cannot hold
        archive.addfile(tarfile.TarInfo("a/other.png"))


def _lying_headers(forge: Forge, data: bytes) -> bytes:
    """A number in the header of a member replaced, and its checksum mended."""
    block, broken = 512 * forge.dice.randrange(max(1, len(data) // 512 - 2)), bytearray(data)
    sizes = [
        b"77777777777\0",
        b"-0000000001\0",
        b"\xff" * 12,
        b"\x80" + b"\0" * 7 + b"\x7f\xff\xff\xff",
        b"99999999999\0",
    ]
    broken[block + 124 : block + 136] = forge.dice.choice(sizes)
    broken[block + 148 : block + 156] = b" " * 8
    total = sum(broken[block : block + 512])
    broken[block + 148 : block + 156] = b"%06o\0 " % total
    return bytes(broken)


def _tar_bomb(forge: Forge, suffix: str) -> bytes:
    """One member of a gigabyte or more of zeros, or very many members, in a few kilobytes."""
    member = tarfile.TarInfo("a/0.png")
    member.size = 2**30 * forge.dice.choice([1, 4])
    packer: bz2.BZ2Compressor | lzma.LZMACompressor | _Gzip
    packer = {".tar.bz2": bz2.BZ2Compressor, ".tar.xz": lzma.LZMACompressor}.get(suffix, _Gzip)()
    parts = [packer.compress(member.tobuf())]
    for _ in range(256 if suffix == ".tar.gz" else 64):  # what lies behind is missing
        parts.append(packer.compress(ZERO))
    return b"".join([*parts, packer.flush()])


class _Gzip:
    def __init__(self) -> None:
        self.inner = zlib.compressobj(9, zlib.DEFLATED, 31)
        self.compress, self.flush = self.inner.compress, self.inner.flush


def zip_file(forge: Forge) -> str:
    """A zip with odd names, sizes that lie, entries that overlap, or a bomb."""
    stream = io.BytesIO()
    with zipfile.ZipFile(
        stream, "w", forge.dice.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
    ) as out:
        for name, data in odd_images(forge):
            info = zipfile.ZipInfo(name.replace("\0", "") or "x.png")
            info.external_attr = forge.dice.choice([0, 0o120777 << 16, 0o10777 << 16])  # a link, a pipe
            out.writestr(info, data)
        if forge.chance(4):
            out.writestr("a/bomb.png", ZERO * 64, zipfile.ZIP_DEFLATED)
    data = bytearray(stream.getvalue())
    if forge.chance(3):
        place = data.rfind(b"PK\x01\x02")
        field = forge.dice.choice([8, 10, 20, 24, 28, 30, 42])
        struct.pack_into("<I", data, place + field, forge.dice.choice([0, 0xFFFFFFFF, 0x7FFFFFFF, 1, 99]))
    return forge.file("set.zip", damage(forge, bytes(data)) if forge.chance(2) else bytes(data))
