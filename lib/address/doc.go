// Package address decides what an address means here: it completes addresses,
// says whether a domain is ours, whether a client may relay, whether a
// recipient exists, and to which transport and next hop a recipient goes (the
// work of Postfix's trivial-rewrite(8)).
//
// A Resolver never changes; a reload makes a new one. It opens no file: tables
// come through the table.Opener it is given. An error from it is always of kind
// table.ErrTemp: nobody knows now, so mail waits and clients get 4xx.
package address
