package sched

import (
	"math"
	"testing"
	"time"

	"postrider/lib/mail"
)

// How many failures in a row kill a destination that is at a given window: the
// figures that Postfix's rules give.
func TestFailuresUntilDead(t *testing.T) {
	one, perN := Feedback{amount: 1}, Feedback{amount: 1, by: byConcurrency}
	for _, c := range []struct {
		window   int
		feedback Feedback
		want     int
	}{
		{1, one, 1}, {2, one, 2}, {3, one, 2}, {4, one, 3}, {5, one, 3}, {10, one, 7}, {20, one, 13},
		{5, perN, 5}, {20, perN, 20},
	} {
		tr := stock()
		tr.InitialConcurrency, tr.NegativeFeedback = c.window, c.feedback
		m := New(Config{Transports: map[string]Transport{"smtp": tr}, Retry: Retry{MinBackoff: time.Minute}})
		d := m.dest(m.transports["smtp"], &Recipient{NextHop: "a.example"})
		got := 0
		for !d.dead && got < 100 {
			m.failed(d, mail.Status{})
			got++
		}
		if got != c.want {
			t.Errorf("window %d, feedback %v: dead after %d failures, want %d", c.window, c.feedback, got, c.want)
		}
	}
}

// A success starts the count of failed cohorts anew.
func TestSuccessClearsCohorts(t *testing.T) {
	tr := stock()
	tr.NegativeFeedback = Feedback{}
	m := New(Config{Transports: map[string]Transport{"smtp": tr}})
	d := m.dest(m.transports["smtp"], &Recipient{NextHop: "a.example"})
	for range 4 {
		m.failed(d, mail.Status{})
	}
	m.succeeded(d)
	for range 4 {
		m.failed(d, mail.Status{})
	}
	if d.dead {
		t.Fatal("dead of failures before the last success")
	}
	if m.failed(d, mail.Status{}); !d.dead {
		t.Fatal("alive after a cohort of failures")
	}
}

// A step in one direction forgets the credit collected in the other.
func TestFeedbackCredit(t *testing.T) {
	tr := stock()
	tr.CohortLimit, tr.InitialConcurrency, tr.ConcurrencyLimit = 0, 4, 0
	tr.PositiveFeedback, tr.NegativeFeedback = Feedback{amount: 0.25}, Feedback{amount: 0.25}
	m := New(Config{Transports: map[string]Transport{"smtp": tr}})
	d := m.dest(m.transports["smtp"], &Recipient{NextHop: "a.example"})
	d.busy = 4
	for _, c := range []struct {
		results string // + and -
		want    int
	}{
		{"+++", 4}, {"+", 5}, // four quarters widen
		{"-", 4}, {"---", 3}, // one failure narrows, and then the fourth
		{"+++", 3}, {"-", 3}, {"+", 4}, // the other way it still takes four, and
		{"-", 3},              // that forgot the credit: one failure narrows
		{"++", 3}, {"---", 2}, // this forgets two successes:
		{"+++", 2}, {"+", 3}, // four are needed again
	} {
		for _, r := range c.results {
			if r == '+' {
				m.succeeded(d)
			} else {
				m.failed(d, mail.Status{})
			}
		}
		if d.window != c.want {
			t.Fatalf("%s: window %d, want %d", c.results, d.window, c.want)
		}
	}
}

func TestParseFeedback(t *testing.T) {
	for text, at4 := range map[string]float64{
		"1": 1, "0": 0, "0.5": 0.5, "1/4": 0.25, " 1 / concurrency ": 0.25, "1/sqrt_concurrency": 0.5, "0.5/concurrency": 0.125,
	} {
		if f, err := ParseFeedback(text); err != nil || f.at(4) != at4 {
			t.Errorf("%q: %v at window 4, want %v (%v)", text, f.at(4), at4, err)
		}
	}
	for _, text := range []string{"", "2", "-1", "1/0", "0/0", "nan", "inf", "1/", "1/x", "/1", "3/2", "1/2/3"} {
		if f, err := ParseFeedback(text); err == nil {
			t.Errorf("%q: no error but %v", text, f)
		}
	}
}

func FuzzParseFeedback(f *testing.F) {
	f.Add("1/sqrt_concurrency")
	f.Add("0.5/3")
	f.Fuzz(func(t *testing.T, text string) {
		fb, err := ParseFeedback(text)
		for _, window := range []int{1, 2, 1000} {
			if x := fb.at(window); err == nil && !(x >= 0 && x <= 1) || math.IsNaN(x) {
				t.Errorf("%q: feedback %v at window %d", text, x, window)
			}
		}
	})
}
