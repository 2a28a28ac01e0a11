package proto

import "postrider/lib/ipc"

// ShapeBuckets is how many buckets of age a Shape may ask for.
const ShapeBuckets = 32

// Shape asks how much mail there is for each domain and of what age (qshape). The
// answer is ShapeRow frames, the largest first and the sum of all before them, and a
// Done.
type Shape struct {
	Queues  []string // as in List; none means all
	Sender  bool     // count messages by the sender's domain, not recipients by theirs
	Class   bool     // count recipients by their virtual queues (sched.cf)
	Quotas  bool     // instead: how much of each quota of sched.cf is used (counts: used, limit), the fullest first
	Buckets uint32   // how many; the last has no limit
	Tick    uint32   // minutes of the first; each further one reaches twice as far
	Linear  bool     // or by as much again
	Top     uint32   // at most so many domains; 0: as many as are counted
}

// Append implements ipc.Appender.
func (m *Shape) Append(b []byte) []byte {
	b = ipc.AppendBool(ipc.AppendBool(appendStrings(b, m.Queues), m.Sender), m.Class)
	b = ipc.AppendBool(b, m.Quotas)
	b = ipc.AppendUint(b, uint64(m.Buckets))
	b = ipc.AppendUint(b, uint64(m.Tick))
	return ipc.AppendUint(ipc.AppendBool(b, m.Linear), uint64(m.Top))
}

// Decode reads the message from a frame's payload.
func (m *Shape) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Queues, m.Sender, m.Class = decodeStrings(&d), d.Bool(), d.Bool()
	m.Quotas = d.Bool()
	m.Buckets, m.Tick = d.Uint32(), d.Uint32()
	m.Linear, m.Top = d.Bool(), d.Uint32()
	if m.Buckets < 1 || m.Buckets > ShapeBuckets || m.Tick < 1 || m.Tick > 1e6 {
		return ipc.ErrFrame
	}
	return d.End()
}

// ShapeRow is how much mail there is for one domain.
type ShapeRow struct {
	Domain string   // "TOTAL" for all together, which comes first
	Counts []uint64 // the sum, then by age
}

// ShapeRows are some rows.
type ShapeRows []ShapeRow

// Append implements ipc.Appender.
func (m ShapeRows) Append(b []byte) []byte {
	b = ipc.AppendUint(b, uint64(len(m)))
	for i := range m {
		b = ipc.AppendString(b, m[i].Domain)
		b = ipc.AppendUint(b, uint64(len(m[i].Counts)))
		for _, n := range m[i].Counts {
			b = ipc.AppendUint(b, n)
		}
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *ShapeRows) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	*m = nil
	for range d.Count() {
		r := ShapeRow{Domain: d.String()}
		for range d.Count() {
			r.Counts = append(r.Counts, d.Uint())
		}
		*m = append(*m, r)
	}
	return d.End()
}
