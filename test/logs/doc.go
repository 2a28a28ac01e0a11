// Package logs tests what others make of the log: pflogsumm's figures of a day, fail2ban's
// filters, syslog, a rotation under load, two instances beside each other. It needs the
// Debian packages pflogsumm and fail2ban, as .ci/run installs them; some tests need root.
package logs
