package daemon

import (
	"os"

	"postrider/lib/proto"
	"postrider/lib/suspect"
)

// Fault says how the process in this one's place before died by its own fault
// ("SIGSEGV"), or "" when it did not: this is the first, or that one was killed from
// outside or ended in order.
func (d *Daemon) Fault() string { return d.fault }

// Suspects returns where to note what is about to be read, what was noted when the
// process before died by its own fault, each counted as a strike now, and all
// strikes. It is called once, before Shut. What fails is logged: then nothing is
// noted, or not kept.
func (d *Daemon) Suspects() (*suspect.Notes, []string, *suspect.Strikes) {
	d.mu.Lock()
	memory, file := d.notes, d.strikes
	d.mu.Unlock()
	s := suspect.OpenStrikes(file)
	if memory == nil {
		return nil, nil, s
	}
	n, left, err := suspect.OpenNotes(memory)
	memory.Close() // the mapping stays
	if err != nil {
		d.Log.Warnf("%v; after a crash nobody will know what was being read", err)
	}
	if d.fault == "" {
		return n, nil, s
	}
	for _, key := range left {
		count, err := s.Add(key, d.fault)
		if err != nil {
			d.Log.Warnf("%v", err)
		}
		d.Log.Warnf("suspected: the %s before this one died (%s) reading %s, %s", d.Program, d.fault, key, times(count))
	}
	return n, left, s
}

func times(strikes int) string {
	switch strikes {
	case 1:
		return "which is read alone from now on"
	case suspect.Guilty - 1:
		return "alone"
	}
	return "alone again: it is not read any more"
}

// OnDied sets what is called when master says that a partner has died, in order
// with OnPartner's calls. To be set before Ready.
func (d *Daemon) OnDied(f func(proto.Died)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onDied = f
}

func (d *Daemon) died(m proto.Died) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.call(func() {
		d.mu.Lock()
		f := d.onDied
		d.mu.Unlock()
		if f != nil {
			f(m)
		}
	})
}

// Alone asks master for a process of the program besides the usual ones, which comes
// as a partner whose name ends with proto.AloneSuffix; or lets it go.
func (d *Daemon) Alone(program string, want bool) {
	if err := d.conn.Send(proto.TypeAlone, &proto.Alone{Program: program, Want: want}); err != nil {
		d.stop(0, false) // master is gone
	}
}

// keep takes a descriptor that package suspect uses.
func (d *Daemon) keep(kind proto.GrantKind, f *os.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind == proto.GrantNotes {
		d.notes = f
	} else {
		d.strikes = f
	}
}
