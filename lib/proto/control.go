package proto

import "postrider/lib/ipc"

// The control conversation.
const (
	ControlName    = "control"
	ControlVersion = 2
	// ControlFD is the descriptor on which a daemon finds its master.
	ControlFD = 3
)

// Frame types of the control conversation.
const (
	TypeSetup   = iota + 1 // master: Setup
	TypeGrant              // master: Grant and one descriptor
	TypeGo                 // master: everything of this round was granted; serve with it
	TypeStop               // master: Stop
	TypeReady              // daemon: serving
	TypeSilent             // daemon: Silent
	TypeProfile            // master: Profile and the connected socket of who asked
	TypeDied               // master: Died
	TypeAlone              // qmgr: Alone
)

// Setup tells a daemon who it is and how it is configured. It comes first, and
// again at each reload.
type Setup struct {
	Program  string // "smtpd"
	Number   uint32 // which process of the program, from 0
	Of       uint32 // how many processes of the program there are
	Snapshot []byte // config.Snapshot in its encoded form
	Fault    string // how the process in this place before died by its own fault, or ""
}

// Append implements ipc.Appender.
func (m *Setup) Append(b []byte) []byte {
	b = ipc.AppendString(b, m.Program)
	b = ipc.AppendUint(b, uint64(m.Number))
	b = ipc.AppendUint(b, uint64(m.Of))
	b = ipc.AppendString(b, m.Snapshot)
	return ipc.AppendString(b, m.Fault)
}

// Decode reads the message from a frame's payload.
func (m *Setup) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Program = d.String()
	m.Number = d.Uint32()
	m.Of = d.Uint32()
	m.Snapshot = append([]byte(nil), d.Bytes()...)
	m.Fault = d.String()
	return d.End()
}

// GrantKind is what a granted descriptor is.
type GrantKind uint8

// Kinds of grants.
const (
	GrantLog      GrantKind = iota + 1 // where log lines go; Name: "file", "stdout" or "syslog"
	GrantListener                      // a listening socket; Name: master.cf's service, "smtp/inet", or "public/qmgr"
	GrantPartner                       // a connected socket to another daemon; Name: "cleanup", "qmgr", "smtp.0", ...
	GrantTable                         // a file behind a lookup table, read only; Name: its path
	GrantFile                          // another file to read; Name: its path, such as /etc/resolv.conf
	GrantLock                          // the spool's lock, to be held open and never used
	GrantNotes                         // memory that outlives the process: package suspect's Notes
	GrantStrikes                       // a file of its own: package suspect's Strikes
	GrantOrder                         // memory of all daemons: package maillog's Order; Name: the place in it, "3"
)

// PolicyFile is the name of the granted file (GrantFile) with the compiled sched.cf, for
// package policy; it is empty when there is no sched.cf.
const PolicyFile = "sched.cf"

// Grant hands over one descriptor. A grant of the same kind and name replaces the
// earlier one.
type Grant struct {
	Kind GrantKind
	Name string
}

// Append implements ipc.Appender.
func (m *Grant) Append(b []byte) []byte {
	return ipc.AppendString(append(b, byte(m.Kind)), m.Name)
}

// Decode reads the message from a frame's payload.
func (m *Grant) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Kind = GrantKind(d.Byte())
	m.Name = d.String()
	return d.End()
}

// Stop asks a daemon to finish and exit: at once with Grace 0, else within that
// many milliseconds.
type Stop struct{ Grace uint64 }

// Append implements ipc.Appender.
func (m *Stop) Append(b []byte) []byte { return ipc.AppendUint(b, m.Grace) }

// Decode reads the message from a frame's payload.
func (m *Stop) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Grace = d.Uint()
	return d.End()
}

// Silent says that a partner has not said hello in the time it had. master kills it:
// whoever holds deliveries that nobody knows of must not keep them.
type Silent struct{ Partner string }

// Append implements ipc.Appender.
func (m *Silent) Append(b []byte) []byte { return ipc.AppendString(b, m.Partner) }

// Decode reads the message from a frame's payload.
func (m *Silent) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Partner = d.String()
	return d.End()
}

// Profile asks a daemon to measure itself and to write the result to the descriptor
// that comes with it, which it closes.
type Profile struct {
	Kind    string // "cpu", "allocs", "heap", "goroutine", "mutex", "block" or "stats"
	Seconds uint32 // how long to measure; without meaning for heap, goroutine and stats
}

// Append implements ipc.Appender.
func (m *Profile) Append(b []byte) []byte {
	return ipc.AppendUint(ipc.AppendString(b, m.Kind), uint64(m.Seconds))
}

// Decode reads the message from a frame's payload.
func (m *Profile) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Kind = d.String()
	m.Seconds = d.Uint32()
	return d.End()
}

// Died says that the process of a partner has ended. It comes before the connected
// end of the next one. With Fault the process died by its own fault, and that says
// how ("SIGSEGV"): what it had in hand is suspect. Without, it was killed from
// outside, or ended in order: that blames nobody.
type Died struct {
	Partner string
	PID     uint64
	Fault   string
}

// Append implements ipc.Appender.
func (m *Died) Append(b []byte) []byte {
	return ipc.AppendString(ipc.AppendUint(ipc.AppendString(b, m.Partner), m.PID), m.Fault)
}

// Decode reads the message from a frame's payload.
func (m *Died) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Partner = d.String()
	m.PID = d.Uint()
	m.Fault = d.String()
	return d.End()
}

// AloneSuffix ends the partner name of the process that tries suspects.
const AloneSuffix = ".alone"

// Alone asks master for one more process of a program, whose partner name is the
// program's with AloneSuffix, or says that it is not needed any more. One that dies
// is not started again unasked.
type Alone struct {
	Program string
	Want    bool
}

// Append implements ipc.Appender.
func (m *Alone) Append(b []byte) []byte {
	return ipc.AppendBool(ipc.AppendString(b, m.Program), m.Want)
}

// Decode reads the message from a frame's payload.
func (m *Alone) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Program = d.String()
	m.Want = d.Bool()
	return d.End()
}
