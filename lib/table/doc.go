// Package table looks up keys in the tables that the configuration names:
// "type:name" as in postconf(5). It never opens a file: contents come through
// an Opener, which a daemon makes of the descriptors that master granted, and
// Files says which paths to grant. An open table does not change; a daemon
// opens its tables anew when master sends new descriptors.
//
// The types are hash: (and its like: btree:, lmdb:, dbm:, sdbm:, cdb:), an indexed
// file NAME.cdb that postmap or postalias makes and that is read where it lies;
// texthash:, regexp:, pcre: and cidr:, texts held in memory; inline:{...}, static:,
// fail:, unix:passwd.byname; sqlite:, a database that proxymap asks for a policy; and unionmap:{...}, pipemap:{...} and randmap:{...}.
// Regular expressions are RE2's: no pattern takes more than linear time. proxy: before
// a type is accepted and means nothing: these tables no daemon opens, and sqlite: has its
// proxymap anyway.
package table
