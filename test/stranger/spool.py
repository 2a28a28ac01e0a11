#!/usr/bin/env python3
"""List the unfinished mail of a Postrider spool: written from doc/spool.md alone. Usage: spool.py QUEUE_DIRECTORY
One line a recipient: id, queue, sender, recipient, size, CRC-32C of the content. Not here: a header whose two fixed copies are lost."""
import collections, glob, os, sys
from fields import In, crc, fields
from slots import File

top, sure, highest, ends = sys.argv[1], False, 0, {}
path = lambda *names: os.path.join(top, *names)
opened = lambda folder: [File(n) for n in sorted(glob.glob(path(folder, '*'))) if '/ckpt.' not in n and not n.endswith('.idx')]
files = collections.defaultdict(lambda: {'slots': 0, 'end': 0, 'read': 0, 'dead': set(), 'held': set(), 'store': 0})  # content files
runs, marks, states, freed = {}, collections.defaultdict(set), {}, set()
ENTRIES = {1: 'rn', 2: 'uppuss', 3: 'rps', 4: 'un', 5: 'un', 6: 'un', 7: 'ru', 8: 'cuu', 9: 'cu', 10: 'vv', 11: 'uuuo', 12: 'cuvu', 13: 'uuul'}

def state(b):  # of a state record: the message, recipients done
    r = In(b)
    ref = tuple(r.read('cqqd')[2:])
    r.read('uvvucuqss'), [r.read('cssss') for _ in range(r.c())]
    return ref, r.n()
def apply(entry, x):
    if entry in (2, 3) and x[1] and x[1][0] in runs: runs[x[1][0]][2].add(x[1][1])  # kill
    if entry == 1: marks[x[0]] |= x[1]
    elif entry == 2: ref, done = state(x[5]); marks.pop(ref, 0); states[ref] = x[0], done
    elif entry == 3: files[x[0][0]]['dead'].add(x[0][1])
    elif entry == 4: files[x[0]]['held'] |= x[1]
    elif entry == 5: files[x[0]]['held'] -= x[1]
    elif entry == 6: files[x[0]]['dead'] |= x[1]
    elif entry == 8 and x[0] == 2: files[x[1]]['end'] = x[2]
    elif entry == 9 and x[0] == 2: files.pop(x[1], 0); freed.add(x[1])
    elif entry == 9 and x[0] != 3: runs.pop(x[1], 0)
    elif entry == 11: files[x[0]]['slots'] = max(x[1], files[x[0]]['slots']); marks[x[3][0]] |= x[3][1]
    elif entry == 13: [files[n].update(store=x[0]) for n in x[3]]
def show(qid, queue, sender, to, data):
    for a in to: print(qid, queue, sender.decode(), a.decode(), len(data), '%08x' % crc(data), sep='\t')
def drop(name, b):  # a file of maildrop/
    r, x, start, at = In(b), collections.defaultdict(list), b'', 0
    if b[:8] == b'\x7fPRDROP\1': start = r.take(8)
    while start and r.more(): at, kind = r.i, r.take(1); x[kind].append(r.s())
    if at and kind == b'E' and int.from_bytes(x[b'E'][0], 'little') == crc(b[:at]): show(name, 'maildrop', x[b'S'][0], x[b'R'], b''.join(x[b'C']))
def entries(r):
    while r.more(): kind = r.c(); yield kind, r.read(ENTRIES[kind])

assert open(path('version'), 'rb').read() == b'postrider spool 1\n'
for first in sorted((int(n.split('.')[-1]) for n in glob.glob(path('log', 'ckpt.*'))), reverse=True):  # step 1
    b = open(path('log', 'ckpt.%d' % first), 'rb').read()
    if b[:8] != b'PRckpt1\n' or crc(b[:-4]) != int.from_bytes(b[-4:], 'little'): continue
    sure, r = True, In(b[8:-4])
    highest = r.read('vvuuu')[4]
    for n, slots, _, end, bits, dead, held, _ in r.many('uuuucmmm'): files[n].update(slots=slots, end=bits & 1 and end, read=bits & 2, dead=dead, held=held)
    for n, _, _, _, slots, length, dead in r.many('ucvquum'): runs[n] = slots, length, dead
    for ref, done in r.many('rn'): marks[ref] |= done
    r.many('ru'), r.many('s'), r.more() and r.u()
    for store, _, _, names in r.many('uqul') if r.more() else (): apply(13, (store, 0, 0, names))
    break
logs = {f.number: f for f in opened('log') if f.kind == 6 and (not sure or f.number >= first)}  # step 2
for f in logs.values():
    for kind, x in entries(In(next(f.records(), [b''] * 7)[6])):
        if kind == 8 and x[0] == 6: ends[x[1]] = x[2]
for n in sorted(logs):
    for r in logs[n].records(ends.get(n, 0)): [apply(*e) for e in entries(In(r[6]))]
for f in opened('deferred') + opened('hold'):  # step 3
    slots, length, dead = runs.get(f.number) or (0, 0, ()) if sure else (1 << 32, 0, runs.get(f.number, [()])[-1])
    for slot, _, _, gen, _, env, _ in f.records(length) if f.kind in (4, 5) and slots else ():
        ref, done = state(env)
        if slot < slots and slot not in dead and states.get(ref, (-1,))[0] < gen: states[ref] = gen, done
contents, ends, messages, taken = {f.number: f for f in opened('incoming') if f.kind == 2}, {}, [], set()  # step 4
highest = max([highest, *freed] + [n for n, c in files.items() if c['slots'] or c['read']])
for f in contents.values():
    _, typ, *_, env, _ = next(f.records(), (0,) * 7)
    for other, length in In(env if typ == 2 else b'').all('uu'): ends[other] = min(length, ends.get(other, length))
for n, f in sorted(contents.items()):  # step 5
    gone = n in freed or sure and n not in files and n <= highest
    for slot, typ, flags, _, qid, env, data in f.records(files[n]['end'] or ends.get(n, 0)):
        e = fields(env) if typ == 1 else {}
        taken |= {x.decode() for x in e.get(18, [])} | {x[2].decode() for x in In(env if typ == 3 else b'').all('uus')}
        if 17 in e and slot >= files[n]['slots']:  # takes over recipients, and qmgr has not read it yet
            r = In(e[17][0])
            ref = r.read('sr')[1]
            while r.more(): marks[ref].add(r.u())
        if e and slot not in files[n]['dead'] and not gone and not files[n]['store']: messages.append(((n, slot), flags, qid, e, data))
for f in opened('store'):
    for _, typ, flags, _, qid, env, data in f.records() if f.kind == 3 else ():
        r = In(env)
        n, slot = r.r()
        if typ == 4 and files[n]['store'] == f.number and slot not in files[n]['dead']: messages.append(((n, slot), flags, qid, fields(env[r.i:]), data))
for ref, flags, qid, e, data in messages:
    if flags & 1:
        want, data = In(data).read('qd'), open(path('content', qid), 'rb').read()
        assert [len(data), crc(data)] == want, qid
    done = states.get(ref, (0, set()))[1] | marks[ref]
    queue = 'hold' if ref[1] in files[ref[0]]['held'] else 'deferred' if ref in states else 'incoming'
    show(qid, queue, e.get(2, [b''])[0], [fields(x)[1][0] for n, x in enumerate(e[3]) if n not in done], data)
for name in sorted(os.listdir(path('maildrop'))) if os.path.isdir(path('maildrop')) else ():
    if not name.startswith('.new.') and name not in taken: drop(name, open(path('maildrop', name), 'rb').read())
