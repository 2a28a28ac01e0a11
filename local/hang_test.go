package local

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A home whose file server hangs holds one delivery of its user; what comes behind is
// deferred within a second. Others do not notice, and when it answers again the mail
// arrives.
func TestHungHome(t *testing.T) {
	r, _ := asRoot(t)
	old := homeTime
	defer func() { homeTime = old }()
	homeTime = 5 * time.Second
	if err := os.WriteFile(hangFile(os.Getpid()), []byte(fmt.Sprint(nobody)), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(hangFile(os.Getpid()))
	first := make(chan string)
	go func() {
		st := r.do(request(letter, "bob@example.com")).Status
		first <- fmt.Sprint(st.Class, " ", st.DSN, " ", st.Text)
	}()
	waitFor(t, func() bool { homes.mu.Lock(); defer homes.mu.Unlock(); return homes.of[nobody] != nil })
	var all sync.WaitGroup
	began := time.Now()
	for range 20 {
		all.Go(func() {
			if st := r.do(request(letter, "bob@example.com")).Status; st.DSN != "4.3.0" || !strings.Contains(st.Text, "hangs") {
				t.Errorf("%+v", st)
			}
		})
	}
	all.Wait()
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("they held their slots for %v", d)
	}
	says(t, r.do(request(letter, "root@example.com")), "sent")
	if st := <-first; !strings.HasPrefix(st, "deferred 4.3.0 the helper for bob ended without an answer") {
		t.Errorf("the first: %s", st)
	}
	os.Remove(hangFile(os.Getpid()))
	says(t, r.do(request(letter, "bob@example.com")), "sent")
}

// A helper that cannot even be killed keeps its user's mail in the queue and out of the
// slots until it is gone.
func TestStuckHelper(t *testing.T) {
	r, _ := asRoot(t)
	stuckHelpers.add(nobody, 1)
	says(t, r.do(request(letter, "bob@example.com")), "deferred 4.3.0 a delivery for bob hangs")
	says(t, r.do(request(letter, "root@example.com")), "sent")
	stuckHelpers.add(nobody, -1)
	says(t, r.do(request(letter, "bob@example.com")), "sent")
}
