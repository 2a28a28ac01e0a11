#!/usr/bin/env python3
"""List the unfinished mail of a Postrider spool: written from doc/spool.md alone.

usage: spool.py QUEUE_DIRECTORY
One line a recipient: id, queue, sender, recipient, size, CRC-32C of the content.
Not here: the search for a header whose two fixed copies are lost."""
import os, struct, sys

TABLE = []
for i in range(256):
    for _ in range(8): i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)

def crc(data, seed=0):
    c = seed ^ 0xFFFFFFFF
    for b in data: c = TABLE[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF

class In:
    """Reads fields: a letter of what says one."""
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
    def n(self):  # set of numbers
        s, end = set(), 0
        for _ in range(self.u()):
            start = end + self.u()
            end = start + self.u() + 1
            s.update(range(start, end))
        return s
    def m(self): return {64 * i + k for i, w in enumerate([self.q() for _ in range(self.u())]) for k in range(64) if w >> k & 1}  # bitmap
    def read(self, what): return [getattr(self, x)() for x in what]

def fields(b):
    r, out = In(b), {}
    while r.more(): out.setdefault(r.u(), []).append(r.s())
    return out

class File:
    """One file of slots: kind, number, key, and its records."""
    def __init__(self, path):
        with open(path, 'rb') as f: self.data = f.read()
        at = next((a for a in (0, 4096) if (self.copy(a) or (1, 1))[:2] == (a, 0)), None)
        if at is None: self.kind = self.number = 0
        else: self.kind, self.number, self.key = self.data[at + 10], *struct.unpack_from('<QQ', self.data, at + 16)
    def copy(self, at):  # a header copy: own offset, sealed, synced_below, key
        b = self.data[at:at + 72]
        if len(b) < 72 or b[:8] != b'PRslots\n' or crc(b[:68]) != struct.unpack_from('<I', b, 68)[0]: return None
        assert b[8:10] == b'\1\0', 'another version'
        key, _, sealed, own, synced = struct.unpack_from('<QQQQQ', b, 24)
        return own, sealed, synced, key
    def at(self, at):  # what stands there: size, synced_below, end of file?, record (None: a header; False: damaged)
        if self.data[at:at + 8] == b'PRslots\n':
            h = self.copy(at)
            return (4096, h[2], h[1] == at + 4096, None) if h and h[0] == at and h[3] == self.key else None
        b = self.data[at:at + 64]
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
                p, found, durable = at, 0, length > at
                while not (found and durable) and (p := min([q for q in (self.data.find(key, p + 1), self.data.find(b'PRslots\n', p + 1)) if q > 0], default=0)):
                    if p % 64 == 0 and (y := self.at(p)): found, durable = found or p, durable or y[1] > at
                if not durable: return
                print('damage at', at, file=sys.stderr)
                at = at + x[0] if x else found or len(self.data)
                continue
            if x[3]: yield x[3]
            if x[2]: return
            at += x[0]

def state(b):  # of a state record: the message, recipients done
    r = In(b)
    ref = tuple(r.read('cqqd')[2:])
    r.read('uvvucuqss'), [r.read('cssss') for _ in range(r.c())]
    return ref, r.n()

class Spool:
    ENTRIES = {1: 'rn', 2: 'uppuss', 3: 'rps', 4: 'un', 5: 'un', 6: 'un', 7: 'ru', 8: 'cuu', 9: 'cu', 10: 'vv', 11: 'uuuc', 12: 'cuvu', 13: 'uuu'}
    def __init__(self, top):
        self.top, self.files, self.runs, self.marks, self.states, self.freed = top, {}, {}, {}, {}, set()
        first = self.highest = self.sure = 0
        assert open(self.path('version'), 'rb').read() == b'postrider spool 1\n'
        for n in sorted((int(n[5:]) for n in self.names('log') if n.startswith('ckpt.')), reverse=True):
            b = open(self.path('log', 'ckpt.%d' % n), 'rb').read()
            if b[:8] == b'PRckpt1\n' and crc(b[:-4]) == int.from_bytes(b[-4:], 'little'):
                first, self.sure = n, True
                self.checkpoint(In(b[8:-4]))
                break
        logs, ends = {f.number: f for f in self.open('log') if f.kind == 6 and f.number >= first}, {}
        for f in logs.values():
            for kind, x in self.entries(next(f.records(), [b''] * 7)[6]):
                if kind == 8 and x[0] == 6: ends[x[1]] = x[2]
        for n in sorted(logs):
            for r in logs[n].records(ends.get(n, 0)):
                for e in self.entries(r[6]): self.apply(*e)
        self.contents()
    def path(self, *names): return os.path.join(self.top, *names)
    def names(self, d): return sorted(os.listdir(self.path(d))) if os.path.isdir(self.path(d)) else []
    def open(self, d): return [File(self.path(d, n)) for n in self.names(d) if not n.startswith('ckpt.')]
    def file(self, n): return self.files.setdefault(n, {'slots': 0, 'end': 0, 'flags': 0, 'dead': set(), 'held': set()})
    def mark(self, ref, recipients): self.marks.setdefault(ref, set()).update(recipients)
    def checkpoint(self, r):
        self.highest = r.read('vvuuu')[4]
        for _ in range(r.u()):
            n, slots, _, end, flags, dead, held, _ = r.read('uuuucmmm')
            self.files[n] = {'slots': slots, 'end': end if flags & 1 else 0, 'flags': flags, 'dead': dead, 'held': held}
        for _ in range(r.u()): n, _, _, _, *self.runs[n] = r.read('ucvquum')
        for _ in range(r.u()): self.mark(r.r(), r.n())
        [r.read('ru') for _ in range(r.u())], [r.s() for _ in range(r.u())]
        if r.more():
            r.u()
            for _ in range(r.u()): self.stored(r.read('uqu')[0], [r.u() for _ in range(r.u())])
    def stored(self, store, files):
        for n in files: self.file(n)['store'] = store
    def entries(self, b):
        r = In(b)
        while r.more():
            kind = r.c()
            if kind not in self.ENTRIES: return print('unknown entry', kind, file=sys.stderr)
            x = r.read(self.ENTRIES[kind])
            if kind == 13: x.append([r.u() for _ in range(r.u())])
            yield kind, x + r.read('rn') if kind == 11 and x[3] else x
    def apply(self, kind, x):
        if kind in (2, 3) and x[1] and x[1][0] in self.runs: self.runs[x[1][0]][2].add(x[1][1])  # kill
        if kind == 1: self.mark(*x)
        elif kind == 2:
            ref, done = state(x[5])
            self.marks.pop(ref, None)
            self.states[ref] = x[0], done
        elif kind == 3 and x[0] != (0, 0): self.file(x[0][0])['dead'].add(x[0][1])
        elif kind == 4: self.file(x[0])['held'] |= x[1]
        elif kind == 5: self.file(x[0])['held'] -= x[1]
        elif kind == 6: self.file(x[0])['dead'] |= x[1]
        elif kind == 8 and x[0] == 2: self.file(x[1])['end'] = x[2]
        elif kind == 9 and x[0] == 2:
            self.files.pop(x[1], None), self.freed.add(x[1])
            self.highest = max(self.highest, x[1])
        elif kind == 9 and x[0] == 3: pass
        elif kind == 13: self.stored(x[0], x[3])
        elif kind == 9: self.runs.pop(x[1], None)
        elif kind == 11:
            self.file(x[0])['slots'] = max(x[1], self.file(x[0])['slots'])
            if x[3]: self.mark(x[4], x[5])
    def contents(self):
        for f in self.open('deferred') + self.open('hold'):  # state records that the log has not
            slots, length, dead = self.runs.get(f.number) or (0, 0, ()) if self.sure else (1 << 32, 0, self.runs.get(f.number, [()])[-1])
            for slot, _, _, gen, _, env, _ in f.records(length) if f.kind in (4, 5) and slots else ():
                ref, done = state(env)
                if slot < slots and slot not in dead and self.states.get(ref, (-1,))[0] < gen: self.states[ref] = gen, done
        files, ends, messages, taken = {f.number: f for f in self.open('incoming') if f.kind == 2}, {}, [], set()
        top = max([self.highest] + [n for n, c in self.files.items() if c['slots'] or c['flags'] & 2])
        for n, f in files.items():
            _, typ, *_, env, _ = next(f.records(), (0,) * 7)
            r = In(env if typ == 2 else b'')
            while r.more():
                other, length = r.r()
                ends[other] = min(length, ends.get(other, length))
        for n, f in sorted(files.items()):
            gone = n in self.freed or self.sure and n not in self.files and n <= top
            c = self.files.get(n) or {'slots': 0, 'end': 0, 'dead': (), 'held': ()}
            for slot, typ, flags, _, qid, env, data in f.records(c['end'] or ends.get(n, 0)):
                r = In(env if typ == 3 else b'')
                while r.more(): taken.add(r.read('uus')[2].decode())
                e = fields(env) if typ == 1 else {}
                taken.update(x.decode() for x in e.get(18, ()))
                if 17 in e and slot >= c['slots']:  # takes over recipients, and qmgr has not read it yet
                    r = In(e[17][0])
                    ref = r.read('sr')[1]
                    while r.more(): self.mark(ref, [r.u()])
                if e and slot not in c['dead'] and not gone and not c.get('store'): messages.append(((n, slot), slot in c['held'], flags, qid, e, data))
        for f in self.open('store'):
            for _, typ, flags, _, qid, env, data in f.records() if f.kind == 3 else ():
                r = In(env)
                ref = r.r()
                c = self.files.get(ref[0], {})
                if typ == 4 and c.get('store') == f.number and ref[1] not in c['dead']: messages.append((ref, ref[1] in c['held'], flags, qid, fields(env[r.i:]), data))
        for ref, held, flags, qid, e, data in messages:
            if flags & 1:
                want, data = In(data).read('qd'), open(self.path('content', qid), 'rb').read()
                assert [len(data), crc(data)] == want, qid
            done = self.states.get(ref, (0, set()))[1] | self.marks.get(ref, set())
            queue = 'hold' if held else 'deferred' if ref in self.states else 'incoming'
            self.show(qid, queue, e.get(2, [b''])[0], [fields(x)[1][0] for n, x in enumerate(e.get(3, ())) if n not in done], data)
        for name in self.names('maildrop'):
            if not name.startswith('.new.') and name not in taken: self.drop(name, open(self.path('maildrop', name), 'rb').read())
    def drop(self, name, b):
        r, sender, to, data = In(b), b'', [], b''
        if r.take(8) != b'\x7fPRDROP\1': return
        while r.more():
            at, kind, x = r.i, r.take(1), r.s()
            if kind == b'S': sender = x
            elif kind == b'R': to.append(x)
            elif kind == b'C': data += x
            elif kind == b'E' and not r.more() and int.from_bytes(x, 'little') == crc(b[:at]): self.show(name, 'maildrop', sender, to, data)
    def show(self, qid, queue, sender, to, data):
        for a in to: print(qid, queue, sender.decode(), a.decode(), len(data), '%08x' % crc(data), sep='\t')

Spool(sys.argv[1])
