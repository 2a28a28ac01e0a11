package bounce

import (
	"slices"
	"strings"
	"time"

	"postrider/lib/config"
	"postrider/lib/daemon"
	"postrider/lib/mail"
	"postrider/lib/notice"
)

// settings are the parameters of one configuration.
type settings struct {
	hostname string // myhostname
	mailName string // mail_name
	origin   string // myorigin
	maxProc  int

	sizeLimit int64         // bounce_size_limit, bytes
	lifetime  time.Duration // maximal_queue_lifetime

	// double is the sender of notices to the postmaster. What is undeliverable
	// and comes from there is dropped.
	double mail.Address

	// Classes of notify_classes.
	copyFailures, copyDelays, doubles bool

	failuresTo, delaysTo, doublesTo mail.Address

	templates notice.Set // bounce_template_file
}

func newSettings(d *daemon.Daemon) *settings {
	line, c := d.Service("bounce/unix")
	s, err := settingsOf(c, templateFile(d, c))
	if err != nil {
		d.Log.Warnf("bounce_template_file: %v: the default text is used", err)
	}
	if s.maxProc = line.MaxProc; line.Name == "" {
		s.maxProc = c.Int("default_process_limit")
	}
	return s
}

// templateFile is the text of bounce_template_file.
func templateFile(d *daemon.Daemon, c *config.Config) string {
	path := c.String("bounce_template_file")
	if path == "" {
		return ""
	}
	b, err := d.File(path)
	if err != nil {
		d.Log.Warnf("bounce_template_file: %v: the default texts are used", err)
	}
	return string(b)
}

// settingsOf reads the parameters, with the text of bounce_template_file. The error is
// about that; the settings are good.
func settingsOf(c *config.Config, file string) (*settings, error) {
	s := &settings{
		hostname: c.String("myhostname"), mailName: c.String("mail_name"), origin: c.String("myorigin"),
		sizeLimit: int64(c.Int("bounce_size_limit")),
		lifetime:  c.Duration("maximal_queue_lifetime"),
	}
	classes := c.List("notify_classes")
	s.copyFailures = slices.Contains(classes, "bounce")
	s.copyDelays = slices.Contains(classes, "delay")
	s.doubles = s.copyFailures || slices.Contains(classes, "2bounce")
	s.double = mail.Address(c.String("double_bounce_sender") + "@" + s.hostname)
	s.failuresTo = s.complete(c.String("bounce_notice_recipient"))
	s.doublesTo = s.complete(c.String("2bounce_notice_recipient"))
	s.delaysTo = s.complete(c.String("delay_notice_recipient"))
	var err error
	s.templates, err = notice.Templates(c, file)
	return s, err
}

// complete gives a name without domain that of this system.
func (s *settings) complete(name string) mail.Address {
	if strings.IndexByte(name, '@') < 0 {
		name += "@" + s.origin
	}
	return mail.Address(name)
}
