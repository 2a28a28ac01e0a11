"""The numbers, strings and checksums of doc/spool.md."""
TABLE = []
for i in range(256):
    for _ in range(8): i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)

def crc(data, seed=0):
    c = seed ^ 0xFFFFFFFF
    for b in data: c = TABLE[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF

class In:
    """Reads fields from bytes: a method of one letter for each form."""
    def __init__(self, b): self.b, self.i = b, 0
    def more(self): return self.i < len(self.b)
    def take(self, n):
        self.i += n
        assert self.i <= len(self.b), 'cut short'
        return self.b[self.i - n:self.i]
    def u(self):  # uvarint
        n = shift = 0
        while True:
            c = self.take(1)[0]
            n, shift = n | (c & 127) << shift, shift + 7
            if c < 128: return n
    def v(self): n = self.u(); return n >> 1 ^ -(n & 1)  # varint
    def s(self): return self.take(self.u())  # string
    def c(self): return self.take(1)[0]
    def d(self): return int.from_bytes(self.take(4), 'little')
    def q(self): return int.from_bytes(self.take(8), 'little')
    def r(self): return self.u(), self.u()  # ref
    def p(self): n = self.u(); return n and (n, self.u())  # place
    def l(self): return [self.u() for _ in range(self.u())]
    def o(self): return self.read('rn') if self.c() else ((0, 0), set())  # optional: ref, set
    def n(self):  # set of numbers
        s, end = set(), 0
        for _ in range(self.u()):
            start = end + self.u()
            end = start + self.u() + 1
            s.update(range(start, end))
        return s
    def m(self): return {64 * i + k for i, w in enumerate([self.q() for _ in range(self.u())]) for k in range(64) if w >> k & 1}  # bitmap
    def read(self, what): return [getattr(self, x)() for x in what]
    def many(self, what): return [self.read(what) for _ in range(self.u())]
    def all(self, what):
        while self.more(): yield self.read(what)

def fields(b):
    """Fields by tag: each a list of what stands there."""
    r, out = In(b), {}
    while r.more(): out.setdefault(r.u(), []).append(r.s())
    return out
