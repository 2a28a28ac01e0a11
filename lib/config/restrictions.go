package config

import (
	"slices"
	"strings"
)

// RestrictionLists are the parameters that hold restrictions, in the order in which they are
// judged.
var RestrictionLists = []string{"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions",
	"smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions"}

// Restrictions are the restrictions of Postfix that smtpd knows, with how many words each
// takes behind its name.
var Restrictions = map[string]int{
	"permit": 0, "reject": 0, "defer": 0, "defer_if_permit": 0, "defer_if_reject": 0, "warn_if_reject": 0, "sleep": 1,
	"check_policy_service": 1, "reject_unauth_pipelining": 0, "reject_plaintext_session": 0, "permit_inet_interfaces": 0,
	"permit_mynetworks": 0, "permit_sasl_authenticated": 0, "reject_multi_recipient_bounce": 0,
	"permit_auth_destination": 0, "reject_unauth_destination": 0, "defer_unauth_destination": 0,

	"check_client_access": 1, "check_reverse_client_hostname_access": 1, "check_sasl_access": 1,
	"reject_unknown_client_hostname": 0, "reject_unknown_reverse_client_hostname": 0, "reject_unknown_forward_client_hostname": 0, "reject_unknown_client": 0,
	"reject_rbl_client": 1, "permit_dnswl_client": 1, "reject_rhsbl_client": 1, "permit_rhswl_client": 1, "reject_rhsbl_reverse_client": 1,

	"check_helo_access": 1, "reject_invalid_helo_hostname": 0, "reject_invalid_hostname": 0, "reject_non_fqdn_helo_hostname": 0,
	"reject_non_fqdn_hostname": 0, "reject_unknown_helo_hostname": 0, "reject_unknown_hostname": 0, "reject_rhsbl_helo": 1,

	"check_sender_access": 1, "reject_non_fqdn_sender": 0, "reject_unknown_sender_domain": 0, "reject_unknown_address": 0,
	"reject_unlisted_sender": 0, "reject_rhsbl_sender": 1, "reject_sender_login_mismatch": 0,
	"reject_authenticated_sender_login_mismatch": 0, "reject_unauthenticated_sender_login_mismatch": 0, "reject_known_sender_login_mismatch": 0,

	"check_recipient_access": 1, "reject_non_fqdn_recipient": 0, "reject_unknown_recipient_domain": 0,
	"reject_unlisted_recipient": 0, "check_recipient_maps": 0, "reject_rhsbl_recipient": 1,
}

// missingRestrictions are those of Postfix that smtpd does not know, with the number of
// words behind each and what to do instead. What they would decide about is put off (451).
var missingRestrictions = map[string]struct {
	args int
	why  string
}{
	"reject_unverified_sender":    {0, "addresses are not probed: take it out"},
	"reject_unverified_recipient": {0, "addresses are not probed: list the recipients in relay_recipient_maps"},
	"permit_mx_backup":            {0, "list the domains in relay_domains"},
	"permit_tls_clientcerts":      {0, "client certificates are not asked for: use permit_sasl_authenticated or permit_mynetworks"},
	"permit_tls_all_clientcerts":  {0, "client certificates are not asked for: use permit_sasl_authenticated or permit_mynetworks"},
	"check_ccert_access":          {1, "client certificates are not asked for: use check_sasl_access or check_client_access"},
	"reject_maps_rbl":             {0, "write reject_rbl_client DOMAIN for each of maps_rbl_domains"},
	"check_relay_domains":         {0, "write reject_unauth_destination"},
	"permit_naked_ip_address":     {0, "take it out; Postfix's manual says so, too"},
}

func init() {
	for _, what := range []string{"client", "reverse_client_hostname", "helo", "sender", "recipient"} {
		for _, of := range []string{"mx", "ns", "a"} {
			missingRestrictions["check_"+what+"_"+of+"_access"] = struct {
				args int
				why  string
			}{1, "the servers of a domain are not looked up: use check_" + strings.TrimSuffix(what, "_hostname") + "_access, or reject_rbl_client and its like"}
		}
	}
}

// RestrictionClass returns the list of restrictions that main.cf defines by a name of
// smtpd_restriction_classes.
func (c *Config) RestrictionClass(name string) ([]string, bool) {
	if !slices.Contains(c.List("smtpd_restriction_classes"), name) {
		return nil, false
	}
	text, ok := c.explicit[name]
	if !ok {
		return nil, false
	}
	text, err := c.Expand(text)
	if err != nil {
		return nil, false
	}
	words, err := SplitList(text)
	return words, err == nil
}

// restrictionWords returns every list of restrictions of a configuration, by name.
func (c *Config) restrictionWords(each func(list string, words []string)) {
	for _, name := range RestrictionLists {
		each(name, c.List(name))
	}
	for _, name := range c.List("smtpd_restriction_classes") {
		if words, ok := c.RestrictionClass(name); ok {
			each(name, words)
		}
	}
}

// PolicyService is the argument of check_policy_service: a socket, and what holds for it
// alone.
type PolicyService struct {
	Socket  string            // inet:host:port, unix:path
	Options map[string]string // timeout, default_action, ...; not expanded
}

// ParsePolicyService reads "inet:host:port" and "{ inet:host:port, timeout=10s }" without
// its braces.
func ParsePolicyService(word string) (s PolicyService) {
	if !strings.ContainsAny(word, " \t,=") {
		s.Socket = word
		return s
	}
	words, err := SplitList(word)
	if err != nil || len(words) == 0 {
		return s
	}
	s.Socket, s.Options = words[0], map[string]string{}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		s.Options[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return s
}

// PolicyServices returns the sockets of all policy services, which smtpd may be connected to.
func (c *Config) PolicyServices() (sockets []string) {
	c.restrictionWords(func(_ string, words []string) {
		for i, w := range words {
			if w == "check_policy_service" && i+1 < len(words) {
				sockets = append(sockets, ParsePolicyService(words[i+1]).Socket)
			}
		}
	})
	return sockets
}

// ClassTables returns the words of the lists of smtpd_restriction_classes: those that are
// tables, smtpd looks into.
func (c *Config) ClassTables() (words []string) {
	for _, name := range c.List("smtpd_restriction_classes") {
		l, _ := c.RestrictionClass(name)
		words = append(words, l...)
	}
	return words
}

// Restriction says what is wrong with one word of a list of restrictions, and how many of
// the words behind it belong to it. A problem is worded for the operator.
func (c *Config) Restriction(name string) (args int, problem string) {
	name = strings.ToLower(name)
	if n, ok := Restrictions[name]; ok {
		return n, ""
	}
	if m, ok := missingRestrictions[name]; ok {
		return m.args, "smtpd restriction " + name + " is not supported: " + m.why + "; requests that it would decide about get 451"
	}
	if _, ok := c.RestrictionClass(name); ok || strings.Contains(name, ":") {
		return 0, ""
	}
	return 0, "unknown smtpd restriction: \"" + clip(name) + "\": requests that it would decide about get 451"
}

// checkRestrictions warns of restrictions that smtpd does not know.
func (c *Config) checkRestrictions(warn func(list, text string)) {
	c.restrictionWords(func(list string, words []string) {
		for i := 0; i < len(words); i++ {
			args, problem := c.Restriction(words[i])
			if problem == "" && i+args >= len(words) {
				problem = "restriction " + words[i] + " needs a word behind it"
			}
			if problem != "" {
				warn(list, "in "+list+": "+problem)
			}
			i += args
		}
	})
}
