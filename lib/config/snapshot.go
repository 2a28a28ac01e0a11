package config

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Snapshot is everything a daemon needs of the configuration, to be sent over
// a socket: the explicit settings, not expanded, what came from the machine,
// the files of pattern lists, and the services.
type Snapshot struct {
	Dir      string
	Settings []Setting // Name and Value only
	Host     Host
	Files    map[string]string
	Services []Service
}

// Snapshot returns what FromSnapshot makes an equal Config of.
func (c *Config) Snapshot() Snapshot {
	return Snapshot{c.dir, slices.Clone(c.main), c.host, maps.Clone(c.files), slices.Clone(c.services)}
}

// FromSnapshot makes a Config of what master sent. An error, of kind
// ErrConfig, means that master and the daemon are of different versions, since
// master checked the same values.
func FromSnapshot(s Snapshot) (*Config, error) {
	c := &Config{dir: s.Dir, main: s.Settings, host: s.Host, files: s.Files, services: s.Services}
	if errs := c.build(c.granted); len(errs) > 0 {
		return nil, errs[0].err
	}
	return c, nil
}

// ErrSnapshot is the kind of error for bytes that are no snapshot.
var ErrSnapshot = errors.New("config: malformed snapshot")

// snapshotVersion changes when the layout below does.
const snapshotVersion = 1

// Append appends the encoded form of s to b. Values need not be valid UTF-8.
func (s *Snapshot) Append(b []byte) []byte {
	w := writer{append(b, snapshotVersion)}
	w.text(s.Dir)
	w.count(len(s.Settings))
	for _, p := range s.Settings {
		w.text(p.Name)
		w.text(p.Value)
	}
	w.text(s.Host.Name)
	w.count(len(s.Host.Nets))
	for _, n := range s.Host.Nets {
		w.text(n.String())
	}
	w.count(len(s.Host.Names))
	for _, name := range slices.Sorted(maps.Keys(s.Host.Names)) {
		w.text(name)
		w.count(len(s.Host.Names[name]))
		for _, ip := range s.Host.Names[name] {
			w.text(ip.String())
		}
	}
	w.texts(s.Files)
	w.count(len(s.Services))
	for i := range s.Services {
		w.service(&s.Services[i])
	}
	return w.b
}

// DecodeSnapshot reads the encoded form. Any error is ErrSnapshot.
func DecodeSnapshot(b []byte) (Snapshot, error) {
	var s Snapshot
	if len(b) == 0 || b[0] != snapshotVersion {
		return s, ErrSnapshot
	}
	r := reader{b: b[1:]}
	s.Dir = r.text()
	for range r.count() {
		s.Settings = append(s.Settings, Setting{Name: r.text(), Value: r.text()})
	}
	s.Host.Name = r.text()
	for range r.count() {
		p, err := netip.ParsePrefix(r.text())
		r.bad = r.bad || err != nil
		s.Host.Nets = append(s.Host.Nets, p)
	}
	for range r.count() {
		name := r.text()
		if s.Host.Names == nil {
			s.Host.Names = map[string][]netip.Addr{}
		}
		for range r.count() {
			ip, err := netip.ParseAddr(r.text())
			r.bad = r.bad || err != nil
			s.Host.Names[name] = append(s.Host.Names[name], ip)
		}
	}
	s.Files = r.texts()
	for range r.count() {
		s.Services = append(s.Services, r.service())
	}
	if r.bad || len(r.b) > 0 {
		return Snapshot{}, ErrSnapshot
	}
	return s, nil
}

// writer appends numbers as uvarints and texts with their length before them.
type writer struct{ b []byte }

func (w *writer) count(n int) { w.b = binary.AppendUvarint(w.b, uint64(n)) }

func (w *writer) text(s string) {
	w.count(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) texts(m map[string]string) {
	w.count(len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		w.text(k)
		w.text(m[k])
	}
}

func (w *writer) flag(f bool) {
	if f {
		w.count(1)
	} else {
		w.count(0)
	}
}

func (w *writer) service(s *Service) {
	w.text(s.Name)
	w.text(s.Type)
	w.flag(s.Private)
	w.flag(s.Unpriv)
	w.flag(s.Chroot)
	w.flag(s.WakeupIfUsed)
	w.count(int(s.Wakeup / time.Second))
	w.count(s.MaxProc)
	w.text(s.Command)
	w.count(len(s.Args))
	for _, a := range s.Args {
		w.text(a)
	}
	w.texts(s.Overrides)
	w.count(s.Line)
}

// reader takes what writer wrote; after the first fault everything is zero.
type reader struct {
	b   []byte
	bad bool
}

// count reads a number that cannot be larger than the bytes that are left,
// when it counts things to come.
func (r *reader) count() int {
	n := r.number()
	if n > len(r.b) {
		r.bad, r.b, n = true, nil, 0
	}
	return n
}

func (r *reader) number() int {
	n, k := binary.Uvarint(r.b)
	if k <= 0 || n > 1<<40 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return int(n)
}

func (r *reader) text() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) texts() map[string]string {
	var m map[string]string
	for range r.count() {
		if m == nil {
			m = map[string]string{}
		}
		k := r.text()
		m[k] = r.text()
	}
	return m
}

func (r *reader) service() Service {
	s := Service{Name: r.text(), Type: r.text()}
	s.Private, s.Unpriv, s.Chroot, s.WakeupIfUsed = r.number() != 0, r.number() != 0, r.number() != 0, r.number() != 0
	s.Wakeup = time.Duration(r.number()) * time.Second
	s.MaxProc = r.number()
	s.Command = r.text()
	for range r.count() {
		s.Args = append(s.Args, r.text())
	}
	s.Overrides = r.texts()
	s.Line = r.number()
	return s
}
