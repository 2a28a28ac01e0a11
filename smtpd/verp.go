package smtpd

import (
	"context"
	"net/netip"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/table"
)

// verpSettings are those about XVERP, which asks for a sender of his own for each recipient.
type verpSettings struct {
	clients       *address.ClientList // smtpd_authorized_verp_clients; nil: nobody
	usual, filter string              // default_verp_delimiters, verp_delimiter_filter
}

func newVERP(cfg *config.Config, open table.Opener, log *maillog.Logger) verpSettings {
	if len(cfg.List("smtpd_authorized_verp_clients")) == 0 {
		return verpSettings{}
	}
	clients, err := address.NewClientList(cfg, "smtpd_authorized_verp_clients", open)
	if err != nil {
		log.Warnf("smtpd_authorized_verp_clients: %v", err)
	}
	return verpSettings{clients, cfg.String("default_verp_delimiters"), cfg.String("verp_delimiter_filter")}
}

// wantsVERP looks at XVERP and XVERP=delimiters of MAIL. The reply is zero when the client
// may have it.
func (f *front) wantsVERP(word []byte, null bool) reply {
	v := &f.set.verp
	if f.params.verp == "" {
		f.params.verp = v.usual
	}
	switch {
	case !f.mayVERP():
		return unsupported(word)
	case !mail.ValidVERP(f.params.verp, v.filter):
		return reply{501, "5.5.4", "Error: XVERP needs two characters from " + v.filter}
	case null:
		return reply{503, "5.5.4", "Error: XVERP requires non-null sender"}
	}
	return reply{}
}

// mayVERP says whether XVERP is for the client; it is offered to nobody else.
func (f *front) mayVERP() bool {
	if f.set.verp.clients == nil {
		return false
	}
	ip, err := netip.ParseAddr(f.client.Addr)
	if err != nil {
		return false
	}
	may, err := f.set.verp.clients.Match(context.Background(), ip)
	if err != nil {
		f.log.Warnf("smtpd_authorized_verp_clients: %v", err)
	}
	return may && err == nil
}
