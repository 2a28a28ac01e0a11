// Package sasl has both ends of a login (RFC 4422, RFC 4954): the client's mechanisms, for
// smtp, and those who know the passwords, for smtpd: Dovecot's auth process, or a file.
//
// It opens no file and makes no connection: those come from who uses it. A password is in no
// error and in no String of this package.
package sasl
