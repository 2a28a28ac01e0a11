"""Files of slots, as doc/spool.md has them."""
import struct, sys
from fields import crc

MAGIC = b'PRslots\n'

class File:
    """One file of slots: kind, number, and its records (slot, type, flags, generation, id, envelope, content)."""
    def __init__(self, path):
        with open(path, 'rb') as f: self.data = f.read()
        at = next((a for a in (0, 4096) if (self.copy(a) or (1, 1))[:2] == (a, 0)), None)
        if at is None: self.kind = self.number = 0
        else: self.kind, self.number, self.key = self.data[at + 10], *struct.unpack_from('<QQ', self.data, at + 16)
    def copy(self, at):  # a header copy: own offset, sealed, synced_below, key
        b = self.data[at:at + 72]
        if len(b) < 72 or b[:8] != MAGIC or crc(b[:68]) != struct.unpack_from('<I', b, 68)[0]: return None
        assert b[8:10] == b'\1\0', 'another version'
        key, _, sealed, own, synced = struct.unpack_from('<QQQQQ', b, 24)
        return own, sealed, synced, key
    def at(self, at):  # what stands there: size, synced_below, end of file?, record (None: a header; False: damaged)
        h, b = self.copy(at), self.data[at:at + 64]
        if h: return (4096, h[2], h[1] == at + 4096, None) if h[0] == at and h[3] == self.key else None
        if len(b) < 64: return None
        key, number, own, synced, slot, typ, flags, idlen, _, gen, elen, clen, ecrc, ccrc, hcrc = struct.unpack('<QQQQIBBBBIIIIII', b)
        head, e = key & 0xFFFFFFFF ^ key >> 32, at + 64 + idlen
        if (key, number, own) != (self.key, self.number, at) or crc(b[:60] + self.data[at + 64:e], head) != hcrc: return None
        body, size = head ^ (at // 64 & 0xFFFFFFFF) * 0x9E3779B1 & 0xFFFFFFFF, (64 + idlen + elen + clen + 63) // 64 * 64
        env, content = self.data[e:e + elen], self.data[e + elen:e + elen + clen]
        good = len(content) == clen and crc(env, body) == ecrc and crc(content, body) == ccrc
        return size, synced, False, good and (slot, typ, flags, gen, self.data[at + 64:e].decode(), env, content)
    def records(self, length=0):
        at, key = 8192, struct.pack('<Q', self.key)
        while at < (length or len(self.data)):
            x = self.at(at)
            if not x or x[3] is False:  # damage, or the torn tail?
                on = [p for p in range(at + 64, len(self.data), 64) if self.data[p:p + 8] in (key, MAGIC) and self.at(p)]
                if length <= at and all(self.at(p)[1] <= at for p in on): return
                print('damage at', at, file=sys.stderr)
                at = at + x[0] if x else on[0] if on else len(self.data)
                continue
            if x[3]: yield x[3]
            if x[2]: return
            at += x[0]
