package operator

import (
	"net"

	"postrider/lib/config"
	"postrider/lib/maillog"
)

// Log is the mail log for an operator's command, whose deeds belong there as much as
// on his terminal: postsuper's lines, as in Postfix. Where it cannot be opened the lines
// are lost; whoever closes it waits for them to be written.
func Log(c *config.Config, program string) *maillog.Logger {
	o := maillog.Options{Facility: maillog.FacilityByName(c.String("syslog_facility"))}
	if c.String("maillog_format") == "json" {
		o.Format = maillog.JSON
	}
	log := maillog.New(c.String("syslog_name")+"/"+program, o)
	switch name := c.String("maillog_file"); name {
	case "/dev/stdout":
	case "":
		conn, err := net.Dial("unixgram", "/dev/log")
		if err != nil {
			break
		}
		if f, err := conn.(*net.UnixConn).File(); err == nil {
			log.Open(f, maillog.Syslog)
		}
		conn.Close()
	default:
		if f, kind, err := maillog.OpenFile(name, 0); err == nil {
			log.Open(f, kind)
		}
	}
	return log
}
