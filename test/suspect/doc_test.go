// Package suspect crashes readers of mail, by markers in deliveries, headers and
// records that daemons built with the tag "crash" die of (lib/crash), and holds that
// this stops nobody else's mail: what kills ends in corrupt/ after two tries alone,
// and all other mail is delivered, bit for bit, by the ledger.
package suspect
