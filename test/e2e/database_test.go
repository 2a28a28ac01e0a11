package e2e

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// vips makes a database of important recipients.
func vips(t *testing.T, path string, addresses ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE vip (address TEXT PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if _, err := db.Exec("INSERT INTO vip VALUES (?)", a); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0644); err != nil {
		t.Fatal(err)
	}
}

// A policy asks a database, as in design.md: the address is a value whatever is in it; a
// database that is replaced is seen; while one is locked or away the mail that depends on it
// waits and goes to no other class, and other mail goes on.
func TestPolicyDatabase(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s := sink.New(t, &l)
	open := gate(s, func(rcpt string) bool { return strings.HasSuffix(rcpt, "@x.test") })
	defer open()
	dir, err := os.MkdirTemp("/tmp", "postrider-vip-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vip.db")
	vips(t, path, "ann@x.test")
	table := filepath.Join(dir, "vip")
	if err := os.WriteFile(table, []byte("dbpath = "+path+"\nquery = SELECT 'yes' FROM vip WHERE address = '%s'\n"), 0644); err != nil {
		t.Fatal(err)
	}
	i := governed(t, s, `
queue "vip" {
  slots    = 1000
  priority = "high"
}
rule {
  when  = rcpt_domain == "x.test" && lookup("sqlite:`+table+`", rcpt)
  queue = "vip"
}
rule { }
`)
	why := func(id string) string { return i.Must("postqueue", "-w", id) }
	mail := func(rcpt string) string { return send(t, i, &l, source.New(rcpt, "a@source.test", 500, rcpt)) }
	inHand := func(n int) { i.Await("in hand", func() bool { return s.Pending() == n }) }

	ann := mail("ann@x.test")
	inHand(1)
	if w := why(ann); !strings.Contains(w, "queue vip, high") {
		t.Errorf("a vip: %s", w)
	}
	plain := mail("q'or'1'='1@x.test")
	inHand(2)
	if w := why(plain); strings.Contains(w, "queue vip") {
		t.Errorf("no vip: %s", w)
	}

	// The commands ask as their caller.
	if out := i.Must("postmap", "-q", "ann@x.test", "sqlite:"+table); out != "yes\n" {
		t.Errorf("postmap -q: %q", out)
	}
	if r := i.Run("postmap", "-q", "q'or'1'='1@x.test", "sqlite:"+table); r.Code != 1 || r.Stdout+r.Stderr != "" {
		t.Errorf("postmap -q of no vip: %+v", r)
	}
	if out := i.Must("postsched", "why", "ann@x.test"); !strings.Contains(out, "queue     vip: priority high") {
		t.Errorf("postsched why: %s", out)
	}
	if out := i.Must("postsched", "why", "bob@x.test"); !strings.Contains(out, "queue     default") {
		t.Errorf("postsched why: %s", out)
	}
	// main.cf may not name one: it is refused as a whole, and the system goes on.
	i.Must("postconf", "-e", "transport_maps = sqlite:"+table)
	const no = ": only lookup in sched.cf asks databases; make an indexed table of its contents with postmap and write hash: here"
	for _, verb := range []string{"check", "reload"} {
		if r := i.Run("master", verb); r.Code == 0 || !strings.Contains(r.Stderr, "transport_maps = sqlite:"+table+no) {
			t.Errorf("%s: %+v", verb, r)
		}
	}
	i.Must("postconf", "-X", "transport_maps")
	i.Must("master", "reload")

	vips(t, path+".new", "ann@x.test", "bob@x.test", "cal@x.test", "dan@x.test")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	bob := mail("bob@x.test")
	inHand(3)
	if w := why(bob); !strings.Contains(w, "queue vip, high") {
		t.Errorf("a vip of the new database: %s", w)
	}

	db, err := sql.Open("sqlite", path+"?_txlock=exclusive")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	cal := mail("cal@x.test")
	other := mail("else@y.test")
	i.AwaitLog(other + ": removed") // the question of the one keeps no other waiting
	waits := `waits for lookup("sqlite:` + table + `") of cal@x.test`
	i.Await("what it waits for", func() bool { return strings.Contains(i.Run("postqueue", "-w", cal).Stdout, waits) })
	i.AwaitLog(cal + `.*status=deferred \(table lookup failure\)`)
	i.AwaitLog(`qmgr.*warning: sched.cf: sqlite:.*locked.*deferred`)
	lock.Rollback()
	inHand(4)
	if w := why(cal); !strings.Contains(w, "queue vip, high") {
		t.Errorf("a vip after the lock: %s", w)
	}

	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	dan := mail("dan@x.test")
	i.AwaitLog(dan + `.*status=deferred \(table lookup failure\)`)
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	inHand(5)
	if w := why(dan); !strings.Contains(w, "queue vip, high") {
		t.Errorf("a vip after the database was away: %s", w)
	}
	open()
	i.Await("all mail", func() bool { return l.Open() == 0 })
}
