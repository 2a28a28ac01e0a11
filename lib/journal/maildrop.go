package journal

import (
	"io"
	"os"
	"sync"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// names are the files of maildrop/ that are in the journal already and may
// still, or again after a power cut, be in maildrop/. Records of them are in the
// file being written, or in the one before: removals are durable before a file is
// begun, and what was not removed by then is written again there, before its first
// message. For the file before may be freed, and written anew, while the removal is
// still on its way.
type names struct {
	mu  sync.Mutex
	all map[string]slot.Ref
}

func (n *names) add(name string, ref slot.Ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all = map[string]slot.Ref{}
	}
	n.all[name] = ref
}

// list returns all names.
func (n *names) list() []slot.Name {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []slot.Name
	for name, ref := range n.all {
		out = append(out, slot.Name{Name: name, Ref: ref})
	}
	return out
}

// SeenMaildrop says whether the file name in maildrop/ has become a message
// already, and which: it is to be removed, and never to be read again.
func (j *Journal) SeenMaildrop(name string) (slot.Ref, bool) {
	j.names.mu.Lock()
	defer j.names.mu.Unlock()
	ref, ok := j.names.all[name]
	return ref, ok
}

// Forget says that the file name is removed from maildrop/.
func (j *Journal) Forget(name string) {
	j.names.mu.Lock()
	defer j.names.mu.Unlock()
	delete(j.names.all, name)
}

// load collects the names in the last two files that are in maildrop/ now. No
// other can come back: the removals are synced first.
func (n *names) load(j *Journal, old []oldFile) error {
	if j.o.Maildrop == "" {
		return nil
	}
	if err := j.syncMaildrop(); err != nil {
		return err
	}
	entries, err := j.o.FS.ReadDir(j.o.Maildrop)
	if err != nil || len(entries) == 0 {
		return err
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	ends := map[uint64]int64{}
	for i, found := len(old)-1, 0; i >= 0 && found < 2; i-- {
		holds, err := look(j, old[i], ends)
		if err != nil {
			return err
		}
		if !holds {
			continue
		}
		found++
		if err := n.read(j, old[i], ends, there); err != nil {
			return err
		}
	}
	return nil
}

// look reads the first records of a file: where the files before it end, and
// whether it holds names or messages. A file that was begun and not used does
// not count among the last two.
func look(j *Journal, o oldFile, ends map[uint64]int64) (holds bool, err error) {
	f, err := j.o.FS.OpenFile(dirIncoming+o.name, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	end, cut := ends[o.header.Number]
	r, buf, err := slot.ReadRecord(f, o.header, slot.DataStart, nil)
	if err == nil && r.Type == slot.TypeSeal {
		if list, err := slot.DecodeSeals(r.Envelope); err == nil {
			for _, s := range list {
				ends[s.File] = s.Length
			}
		}
		r, _, err = slot.ReadRecord(f, o.header, r.End(), buf)
	}
	if err != nil { // not one more good record, or damage: then it counts
		size, serr := f.Size()
		if serr != nil {
			return false, serr
		}
		if cut {
			size = end
		}
		s := slot.NewScanner(f, o.header, size)
		s.Durable = end
		for {
			switch r, err := s.Next(); {
			case err == io.EOF:
				return false, nil
			case err != nil || r.Type != slot.TypeSeal:
				return true, nil
			}
		}
	}
	return !cut || r.End() <= end, nil
}

// read takes the names in one file, which is synced before: a name may count
// only when its message cannot vanish any more.
func (n *names) read(j *Journal, o oldFile, ends map[uint64]int64, there map[string]bool) error {
	f, err := j.o.FS.OpenFile(dirIncoming+o.name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, sealed := ends[o.header.Number]
	// Rather a message twice than one that is nowhere.
	again := func(err error) error {
		j.o.Logf("journal: %v: files in %s that it has already may be sent again", err, j.o.Maildrop)
		return nil
	}
	if !sealed {
		if err := f.Sync(); err != nil {
			return again(err)
		}
		if size, err = f.Size(); err != nil {
			return err
		}
	}
	s := slot.NewScanner(f, o.header, size)
	s.Durable = ends[o.header.Number]
	for {
		r, err := s.Next()
		if err != nil {
			if _, ok := err.(*slot.Damage); ok {
				continue // that message's owner reports it
			}
			return nil // the end
		}
		switch {
		case r.Type == slot.TypeMessage && r.Flags&slot.FlagMaildrop != 0:
			e, err := mail.DecodeEnvelope(r.Envelope)
			if err == nil && there[e.Replaces.Maildrop] {
				if !sealed {
					if err := disk.Rewrite(f, r.Offset, r.End()); err != nil {
						return again(err)
					}
				}
				n.add(e.Replaces.Maildrop, r.Ref)
			}
		case r.Type == slot.TypeNames:
			list, err := slot.DecodeNames(r.Envelope)
			if err != nil {
				continue
			}
			for _, name := range list {
				if there[name.Name] {
					n.add(name.Name, name.Ref)
				}
			}
		}
	}
}

// syncMaildrop makes the removals from maildrop/ durable.
func (j *Journal) syncMaildrop() error {
	if mutant.On(mutant.MaildropUnsynced) {
		return nil
	}
	return j.o.FS.SyncDir(j.o.Maildrop)
}
