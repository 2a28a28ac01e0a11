package maillog

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

// TestFieldsDocumented: the table of doc/logging.md has each field that a line of the log
// may have, with the events that have it, and no other.
func TestFieldsDocumented(t *testing.T) {
	s := newSink("postfix/smtpd", Options{Format: JSON, Host: "mail"})
	defer s.ring.close()
	login := peer
	login.SASLMethod, login.SASLUser = "PLAIN", "alice"
	events := []Event{Client{Queue: "4C1z1", Client: login}, Reject{Stage: "RCPT", Client: login, Queue: "4C1z1", From: "s@x", To: "r@y"}, LostConnection{peer, "DATA", 1},
		TooManyErrors{peer, "DATA", 1}, Timeout{peer, "DATA", 1}, Delivery{Queue: "4C1z1", To: "a@x", OrigTo: "b@x", ConnUse: 2, Done: time.Now(), Status: mail.Status{DSN: "2.0.0", Text: "x"}}}
	for _, l := range lines {
		events = append(events, l.event)
	}
	have := map[string]map[string]bool{} // field: events
	add := func(b []byte) {
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		name, _ := m["event"].(string)
		for field := range m {
			if have[field] == nil {
				have[field] = map[string]bool{}
			}
			have[field][name] = true
		}
	}
	for _, e := range events {
		add(s.render("postfix/smtpd", 3, 7, "", e, nil))
	}
	add(s.render("postfix/smtpd", 3, 7, "text", nil, nil)) // a line without an event

	doc, err := os.ReadFile("../../doc/logging.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "\n## JSON\n")
	said := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| ([^|]*) \\|$").FindAllStringSubmatch(table, -1) {
		said[m[1]] = m[2]
	}
	all := len(have["event"])
	for _, field := range slices.Sorted(maps.Keys(have)) {
		names := slices.Sorted(maps.Keys(have[field]))
		want := strings.Join(names, ", ")
		if len(names) >= all {
			want = "all"
		}
		if i := slices.Index(names, ""); i >= 0 && len(names) < all {
			names = slices.Delete(names, i, i+1)
			want = strings.Join(append(names, "lines without an event"), ", ")
		}
		if said[field] != want {
			t.Errorf("%s: doc/logging.md says %q, the code %q", field, said[field], want)
		}
		delete(said, field)
	}
	for field := range said {
		t.Errorf("%s is in doc/logging.md only", field)
	}
}
