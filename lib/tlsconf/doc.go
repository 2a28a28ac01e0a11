// Package tlsconf is what smtpd and smtp have in common about TLS: certificates with their
// keys, read from the files that master handed over; and what the log says of a session. It
// opens no file.
package tlsconf
