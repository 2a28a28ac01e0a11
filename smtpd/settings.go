package smtpd

import (
	"net/netip"
	"strconv"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/table"
	"postrider/lib/transcript"
)

// settings are the parameters of a service, as one configuration has them. They do not
// change; a session keeps those that it began with.
type settings struct {
	hostname  string
	mailName  string
	banner    string
	ehlo      string        // the reply to EHLO, LF between its lines, but for STARTTLS and AUTH
	ehloRest  string        // what stands behind those
	ehloPlain string        // where there is neither
	timeout   time.Duration // for each read and write

	lineLimit  int
	sizeLimit  int64 // of the content; 0: none
	rcptLimit  int
	overshoot  int
	softErrors int
	hardErrors int
	errorSleep time.Duration
	junkLimit  int
	perClient  int // sessions of one client at once; 0: no limit

	lookup       bool // smtpd_peername_lookup
	heloRequired bool
	noVrfy       bool
	strictPaths  bool // strict_rfc821_envelopes
	rejectBareLF bool
	governed     bool // there is a sched.cf

	tls  tlsSettings
	sasl saslSettings

	access  access
	filter  string // content_filter
	notices transcript.Settings
	local   []string // local_header_rewrite_clients
	own     []netip.Prefix
	quotas  *quotas // nil: none
	verp    verpSettings
}

// newSettings reads them from cfg. What is wrong with tables goes to the log: what
// depends on such a table is answered with 4xx.
func newSettings(cfg *config.Config, open table.Opener, policy func(*config.Config) policyMaker, log *maillog.Logger) *settings {
	resolver, err := address.New(cfg, open)
	if err != nil {
		log.Warnf("%v", err)
	}
	s := &settings{
		hostname:     cfg.String("myhostname"),
		mailName:     cfg.String("mail_name"),
		banner:       cfg.String("smtpd_banner"),
		timeout:      cfg.Duration("smtpd_timeout"),
		lineLimit:    cfg.Int("line_length_limit"),
		sizeLimit:    int64(cfg.Int("message_size_limit")),
		rcptLimit:    cfg.Int("smtpd_recipient_limit"),
		overshoot:    cfg.Int("smtpd_recipient_overshoot_limit"),
		softErrors:   cfg.Int("smtpd_soft_error_limit"),
		hardErrors:   cfg.Int("smtpd_hard_error_limit"),
		errorSleep:   cfg.Duration("smtpd_error_sleep_time"),
		junkLimit:    cfg.Int("smtpd_junk_command_limit"),
		perClient:    cfg.Int("smtpd_client_connection_count_limit"),
		lookup:       cfg.Bool("smtpd_peername_lookup"),
		heloRequired: cfg.Bool("smtpd_helo_required"),
		noVrfy:       cfg.Bool("disable_vrfy_command"),
		strictPaths:  cfg.Bool("strict_rfc821_envelopes"),
		rejectBareLF: cfg.String("smtpd_forbid_bare_newline") == "reject",
		access:       newAccess(cfg, resolver, open, policy(cfg), log),
		local:        localClients(cfg.List("local_header_rewrite_clients"), log),
		own:          cfg.Addresses(),
		quotas:       newQuotas(cfg, open, log),
		filter:       cfg.String("content_filter"),
		notices:      transcript.NewSettings(cfg),
		verp:         newVERP(cfg, open, log),
	}
	s.ehlo = s.hostname + "\nPIPELINING\nSIZE"
	if s.sizeLimit > 0 {
		s.ehlo += " " + strconv.FormatInt(s.sizeLimit, 10)
	}
	if !s.noVrfy {
		s.ehlo += "\nVRFY"
	}
	s.ehloRest = "\nENHANCEDSTATUSCODES\n8BITMIME\nDSN\nSMTPUTF8"
	if s.governed = governed(open); s.governed {
		s.ehloRest += "\nMT-PRIORITY" // RFC 6710: a policy decides what it is worth
	}
	s.ehloPlain = s.ehlo + s.ehloRest
	return s
}

// governed says whether there is a policy (sched.cf).
func governed(open table.Opener) bool {
	r, err := open(proto.PolicyFile)
	return err == nil && r.Size() > 0
}
