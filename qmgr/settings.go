package qmgr

import (
	"fmt"
	"strings"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/table"
)

// settings are what the configuration says, in the form that is used.
type settings struct {
	sched      sched.Config
	programs   map[string]string // transport to the program that serves it
	softBounce bool

	noVERPBounces bool // disable_verp_bounces
	delayWarning  time.Duration
	myOwner       string // mail_owner
	authMailq     []string
	authFlush     []string
	split         table.Splitter
}

// builtin are the commands of master.cf that need no process: qmgr answers for them.
var builtin = map[string]bool{"error": true, "discard": true}

// served are the commands of master.cf that an agent of ours carries out.
var served = map[string]string{"smtp": "smtp", "lmtp": "lmtp", "local": "local", "bounce": "bounce"}

// Bounds that keep a delivery within a frame: recipients of one, whatever the
// configuration says, and bytes of what a report says of its recipients.
const (
	recipientsMax = 800
	frameMax      = ipc.MaxFrame - proto.InlineMax - 64<<10
)

// bounceInHand is how many reports are written at once.
const bounceInHand = 20

func readSettings(c *config.Config) (settings, error) {
	s := settings{
		programs:   map[string]string{},
		softBounce: c.Bool("soft_bounce"),

		noVERPBounces: c.Bool("disable_verp_bounces"),
		delayWarning:  c.Duration("delay_warning_time"),
		myOwner:       c.String("mail_owner"),
		authMailq:     c.List("authorized_mailq_users"),
		authFlush:     c.List("authorized_flush_users"),
		split:         address.Splitter(c),
	}
	s.sched = sched.Config{
		ResolveSlots:   resolveSlots,
		ActiveLimit:    c.Int("qmgr_message_active_limit"),
		RecipientLimit: c.Int("qmgr_message_recipient_limit"),
		Retry: sched.Retry{
			MinBackoff: c.Duration("minimal_backoff_time"), MaxBackoff: c.Duration("maximal_backoff_time"),
			Lifetime: c.Duration("maximal_queue_lifetime"), BounceLifetime: c.Duration("bounce_queue_lifetime"),
		},
		Transports: map[string]sched.Transport{},
	}
	for _, v := range c.Services() {
		if v.Type != "unix" {
			continue
		}
		if builtin[v.Command] {
			s.programs[v.Name] = v.Command
			continue
		}
		program := served[v.Command]
		if program == "" || program == "bounce" {
			continue
		}
		t, err := transport(c, v)
		if err != nil {
			return s, err
		}
		s.programs[v.Name] = program
		s.sched.Transports[v.Name] = t
	}
	// The reports of one pass go to bounce in one delivery, and no report makes
	// the others wait for a dead destination.
	s.programs[bounceService] = "bounce"
	s.programs[requeueService] = requeueProgram
	s.sched.Transports[requeueService] = sched.Transport{Slots: requeueInHand, InitialConcurrency: requeueInHand}
	s.sched.Transports[bounceService] = sched.Transport{Slots: bounceInHand, InitialConcurrency: bounceInHand}
	return s, nil
}

// transport reads the parameters of one line of master.cf.
func transport(c *config.Config, v config.Service) (sched.Transport, error) {
	t := sched.Transport{
		Slots:              v.MaxProc,
		InitialConcurrency: c.TransportInt(v.Name, "initial_destination_concurrency"),
		ConcurrencyLimit:   c.TransportInt(v.Name, "destination_concurrency_limit"),
		RecipientLimit:     c.TransportInt(v.Name, "destination_recipient_limit"),
		CohortLimit:        float64(c.TransportInt(v.Name, "destination_concurrency_failed_cohort_limit")),

		DestinationRateDelay: c.TransportDuration(v.Name, "destination_rate_delay"),
		TransportRateDelay:   c.TransportDuration(v.Name, "transport_rate_delay"),
	}
	if served[v.Command] == "smtp" { // mailboxes of this machine need no proof
		t.UnprovenShare = c.Int("unproven_destination_share")
		t.Resolves = true
	}
	t.Spares = served[v.Command] == "local"
	if t.RecipientLimit <= 0 || t.RecipientLimit > recipientsMax {
		t.RecipientLimit = recipientsMax
	}
	var err error
	for suffix, to := range map[string]*sched.Feedback{
		"destination_concurrency_positive_feedback": &t.PositiveFeedback,
		"destination_concurrency_negative_feedback": &t.NegativeFeedback,
	} {
		if *to, err = sched.ParseFeedback(c.TransportString(v.Name, suffix)); err != nil {
			return t, fmt.Errorf("%s_%s: %w", v.Name, suffix, err)
		}
	}
	return t, nil
}

// user is the local part of a mailbox without its extension.
func (s *settings) user(a mail.Address) string {
	local := strings.ToLower(a.Local())
	if user, _, ok := s.split.Split(local); ok {
		return user
	}
	return local
}

// program returns which program serves a transport, "" when none does.
func (s *settings) program(transport string) string { return s.programs[transport] }
