// Package satellite tests mail systems that speak TLS and log in: a satellite host and its
// smart host, ordinary clients, Dovecot's auth server and its LMTP server.
package satellite
