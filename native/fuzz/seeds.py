#!/usr/bin/env python3
"""Writes the fuzzers' seeds: archives of real writers (Python's tarfile, GNU tar), as fuzz_merge.c and fuzz_blob.c read them.

seeds.py CORPUS
"""
import gzip
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile

corpus = pathlib.Path(sys.argv[1])


def archive(form, *entries, pax=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, pax_headers=pax) as tar:
        for name, kind, more in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            data = more.pop("data", b"")
            info.size = len(data)
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    # Without the padding to a record: two blocks of zeros end an archive.
    return out.getvalue().rstrip(b"\0").ljust(512, b"\0")


def whole(data):
    return data + b"\0" * (-len(data) % 512 + 1024)


def sparse(form):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "s")
        with open(path, "wb") as file:
            for offset in (0, 20000, 60000):
                file.seek(offset)
                file.write(b"x" * 3)
            file.truncate(100000)
        return subprocess.run(["tar", "--sparse", "--record-size=512", *form, "-cf", "-", "-C", directory, "s"], check=True, stdout=subprocess.PIPE).stdout


def raw(*layers, settings=1):
    return bytes([settings]) + b"".join(len(layer).to_bytes(2, "big") + layer for layer in layers)


ustar, gnu, pax = tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT
file, directory, link, symlink = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
long_name = "d/" + "n" * 120
forms = {
    "ustar": archive(ustar, ("d", directory, {"mode": 0o755}), ("d/f", file, {"data": b"x"}), ("g", link, {"linkname": "d/f"}), ("s", symlink, {"linkname": "d"})),
    "gnu": archive(gnu, (long_name, file, {"data": b"x"}), ("l", link, {"linkname": long_name}), ("big", file, {"mtime": -1, "uid": 1 << 40})),
    "pax": archive(pax, (long_name, file, {"data": b"x", "mtime": 1.5, "pax_headers": {"SCHILY.xattr.user.a": "v", "SCHILY.xattr.security.b": "v"}}), pax={"comment": "c"}),
    "devices": archive(ustar, ("c", tarfile.CHRTYPE, {}), ("p", tarfile.FIFOTYPE, {}), ("f", tarfile.AREGTYPE, {}), ("k", tarfile.CONTTYPE, {"data": b"y"})),
    "whiteouts": archive(ustar, (".wh.a", file, {}), ("b/.wh..wh..opq", file, {}), (".wh..wh.plnk", directory, {}), ("a", file, {"data": b"new"}), ("b/c", file, {})),
    "replaced": archive(ustar, ("a", file, {"data": b"1"}), ("b", link, {"linkname": "a"}), ("a", directory, {}), ("a/c", file, {"data": b"2"})),
}
seeds = {f"form-{name}": raw(whole(data)) for name, data in forms.items()}
for name, form in {"old": ["--format=gnu"], **{v: ["--format=posix", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0")}}.items():
    seeds[f"sparse-{name}"] = raw(sparse(form))
seeds["stack"] = raw(whole(forms["ustar"]), whole(forms["replaced"]), whole(forms["whiteouts"]), whole(forms["gnu"]), settings=0x61)
seeds["links"] = raw(
    whole(forms["ustar"]),
    whole(archive(ustar, ("h", link, {"linkname": "d/f"}), ("i", link, {"linkname": "h"}))),
    whole(archive(ustar, ("d", file, {"data": b"z"}))),
)
blobs = {
    "plain": forms["ustar"],
    "gzip": gzip.compress(forms["ustar"], mtime=0),
    "members": gzip.compress(b"", mtime=0) + gzip.compress(b"a" * 1000, mtime=0) + gzip.compress(b"b", mtime=0),
    "zstd": subprocess.run(["zstd", "-q", "-c"], input=forms["ustar"], check=True, stdout=subprocess.PIPE).stdout,
    "skippable": b"\x50\x2a\x4d\x18\x04\0\0\0skip" + subprocess.run(["zstd", "-q", "-c"], input=b"x" * 5000, check=True, stdout=subprocess.PIPE).stdout,
    "window": bytes.fromhex("28b52ffd00a8010000"),
    "xz": b"\xfd7zXZ\0",
}
for name, of in (("merge", seeds), ("blob", blobs)):
    (corpus / name).mkdir(parents=True, exist_ok=True)
    for key, data in of.items():
        (corpus / name / f"seed-{key}").write_bytes(data)
