package maillog

import "slices"

// facilities are the values of syslog_facility, in the order of their numbers.
var facilities = []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}

// FacilityByName returns the number of a value of syslog_facility, or that of
// mail for a name that is none.
func FacilityByName(name string) int {
	if i := slices.Index(facilities, name); i > 0 && name != "" {
		return i
	}
	return 2
}
