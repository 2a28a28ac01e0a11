package qmgr

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"postrider/lib/config"
	"postrider/lib/sched"
)

// Every parameter of Postfix's scheduler reaches it, with its default and with the
// prefix of a transport.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("master.cf", "smtp unix - - n - - smtp\nrelay unix - - n - 7 smtp\nslow unix - - n - 1 smtp\nlocal unix - n n - - local\n")
	read := func(main string) settings {
		t.Helper()
		write("main.cf", main)
		c, problems := config.Load(dir)
		if c == nil {
			t.Fatal(problems)
		}
		s, err := readSettings(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	feedback := func(text string) sched.Feedback {
		f, err := sched.ParseFeedback(text)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}

	s := read("")
	stock := sched.Transport{Slots: 100, InitialConcurrency: 5, ConcurrencyLimit: 20, RecipientLimit: 50,
		PositiveFeedback: feedback("1"), NegativeFeedback: feedback("1"), CohortLimit: 1, UnprovenShare: 50, Resolves: true}
	local := stock
	local.RecipientLimit, local.UnprovenShare, local.Resolves, local.Spares = 1, 0, false, true
	if got := s.sched.Transports["smtp"]; !reflect.DeepEqual(got, stock) {
		t.Errorf("smtp: %+v, want %+v", got, stock)
	}
	if got := s.sched.Transports["local"]; !reflect.DeepEqual(got, local) {
		t.Errorf("local: %+v, want %+v", got, local)
	}
	retry := sched.Retry{MinBackoff: 300 * time.Second, MaxBackoff: 4000 * time.Second, Lifetime: 120 * time.Hour, BounceLifetime: 120 * time.Hour, Seed: s.sched.Retry.Seed}
	if s.sched.Retry != retry || s.sched.ActiveLimit != 20000 || s.sched.RecipientLimit != 20000 {
		t.Errorf("%+v, %d, %d", s.sched.Retry, s.sched.ActiveLimit, s.sched.RecipientLimit)
	}

	for _, c := range []struct {
		set   string // of default_..., or without a prefix
		own   string // with the prefix of relay
		field func(*sched.Transport) any
		all   any
		relay any
	}{
		{"initial_destination_concurrency = 3", "relay_initial_destination_concurrency = 4", func(t *sched.Transport) any { return t.InitialConcurrency }, 3, 4},
		{"default_destination_concurrency_limit = 9", "relay_destination_concurrency_limit = 8", func(t *sched.Transport) any { return t.ConcurrencyLimit }, 9, 8},
		{"default_destination_recipient_limit = 9", "relay_destination_recipient_limit = 8", func(t *sched.Transport) any { return t.RecipientLimit }, 9, 8},
		{"default_destination_concurrency_positive_feedback = 1/2", "relay_destination_concurrency_positive_feedback = 1/concurrency",
			func(t *sched.Transport) any { return t.PositiveFeedback }, feedback("0.5"), feedback("1/concurrency")},
		{"default_destination_concurrency_negative_feedback = 1/concurrency", "relay_destination_concurrency_negative_feedback = 1/sqrt_concurrency",
			func(t *sched.Transport) any { return t.NegativeFeedback }, feedback("1/concurrency"), feedback("1/sqrt_concurrency")},
		{"default_destination_concurrency_failed_cohort_limit = 3", "relay_destination_concurrency_failed_cohort_limit = 10",
			func(t *sched.Transport) any { return t.CohortLimit }, 3.0, 10.0},
		{"default_destination_rate_delay = 2s", "relay_destination_rate_delay = 3s", func(t *sched.Transport) any { return t.DestinationRateDelay }, 2 * time.Second, 3 * time.Second},
		{"default_transport_rate_delay = 2s", "relay_transport_rate_delay = 3s", func(t *sched.Transport) any { return t.TransportRateDelay }, 2 * time.Second, 3 * time.Second},
		{"unproven_destination_share = 30", "", func(t *sched.Transport) any { return t.UnprovenShare }, 30, 30},
		{"default_process_limit = 12", "", func(t *sched.Transport) any { return t.Slots }, 12, 7},
	} {
		s := read(c.set + "\n" + c.own + "\n")
		smtp, relay := s.sched.Transports["smtp"], s.sched.Transports["relay"]
		if got := c.field(&smtp); !reflect.DeepEqual(got, c.all) {
			t.Errorf("%s: smtp has %v, want %v", c.set, got, c.all)
		}
		if got := c.field(&relay); !reflect.DeepEqual(got, c.relay) {
			t.Errorf("%s: relay has %v, want %v", c.own, got, c.relay)
		}
	}

	s = read("qmgr_message_active_limit = 50\nqmgr_message_recipient_limit = 60\nminimal_backoff_time = 1m\nmaximal_backoff_time = 1h\n" +
		"maximal_queue_lifetime = 2d\nbounce_queue_lifetime = 1d\ndelay_warning_time = 4h\nlocal_destination_concurrency_limit = 3\n")
	r := s.sched.Retry
	if s.sched.ActiveLimit != 50 || s.sched.RecipientLimit != 60 || r.MinBackoff != time.Minute || r.MaxBackoff != time.Hour ||
		r.Lifetime != 48*time.Hour || r.BounceLifetime != 24*time.Hour || s.delayWarning != 4*time.Hour || s.sched.Transports["local"].ConcurrencyLimit != 3 {
		t.Errorf("%+v, delay warning %v", s.sched, s.delayWarning)
	}
}
