package local

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Mail for an alias that was made a moment ago waits for the tables that have it; where
// nothing has changed lately, nobody waits.
func TestRenewed(t *testing.T) {
	aliases := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(aliases, []byte("team bob\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	settings := []string{"alias_maps=texthash:" + aliases, "local_recipient_maps=inline:{bob=x}"}
	r := newRig(t, false, files{"/etc/aliases": "", aliases: ""}, settings...)
	c := r.config()
	go func() {
		time.Sleep(50 * time.Millisecond) // as long as master takes; the delivery waits for it
		s, err := newSite(c, files{aliases: "team bob\n"}.open, rootOwns, false)
		if err != nil {
			t.Error(err)
		}
		r.site.Store(s)
	}()
	says(t, r.do(request(letter, "team@example.com")), "sent 2.0.0")

	old := time.Now().Add(-time.Hour)
	quiet := filepath.Join(t.TempDir(), "quiet")
	s := &site{made: time.Now(), sources: []string{quiet, aliases}}
	if !s.outdated(time.Now()) {
		t.Error("a new file is none")
	}
	if s.outdated(time.Now().Add(renewOld + time.Second)) {
		t.Error("an old change is waited for")
	}
	s.made = time.Now().Add(time.Minute)
	if s.outdated(time.Now()) {
		t.Error("what is newer than the change waits for it")
	}
	if err := os.WriteFile(quiet, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(quiet, old, old)
	s = &site{made: time.Now(), sources: []string{quiet}}
	if !s.outdated(time.Now()) {
		t.Error("a file with an old date that was just put there counts")
	}
}
