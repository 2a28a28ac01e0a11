// Package e2e tests the whole mail system from outside: real programs, real SMTP, the
// operators' commands. Tests share instances where they can, since each costs a start.
package e2e
